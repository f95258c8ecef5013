/* e^x - 1, sin, cos and the normal distribution, for the activations that need them; on the
 * functions of vecmath.h, and by its rules. The constants are printed by
 * tests/campaigns/minimax.py; tests/test_kernels.py checks the error bounds.
 */
#if CB_BITS == 32
#define PI_1 0x1.921fb6p+1f
#define PI_2 (-0x1.777a5cp-24f)
#define PI_3 (-0x1.ee59dap-49f)
#define PI_INVERSE 0x1.45f306p-2f
#define DENSITY 0x1.988454p-2f /* 1 / sqrt(2 pi) */
#define INTEGER_ROUNDER 0x1.8p+23f
#define TAIL_CENTRE 4
#define TAIL_MOST 14
static const real sin_terms[] = {-0x1.555556p-3f, 0x1.11110cp-7f, -0x1.a017e4p-13f, 0x1.71715p-19f,
                                 -0x1.9a6ecp-26f};
static const real tail_terms[] = {0x1.525e24p-1f,  -0x1.ea57d6p-5f,  -0x1.516e3ap-5f,
                                  0x1.429316p-4f,  -0x1.0507b2p-4f,  0x1.fe7d76p-6f,
                                  -0x1.fc9cdap-8f, -0x1.99e6aap-11f, 0x1.27e44ep-10f,
                                  -0x1.ea135p-15f, -0x1.ca73d2p-14f};
#else
#define PI_1 0x1.921fb54442d18p+1
#define PI_2 0x1.1a62633145c07p-53
#define PI_3 (-0x1.f1976b7ed8fbcp-109)
#define PI_INVERSE 0x1.45f306dc9c883p-2
#define DENSITY 0x1.9884533d43651p-2
#define INTEGER_ROUNDER 0x1.8p+52
#define TAIL_CENTRE 5
#define TAIL_MOST 39
static const real sin_terms[] = {
    -0x1.5555555555555p-3,  0x1.1111111111111p-7,   -0x1.a01a01a019fddp-13,
    0x1.71de3a5569d7dp-19,  -0x1.ae64567d5266fp-26, 0x1.6124604c3ad36p-33,
    -0x1.ae7eb68602cd3p-41, 0x1.94fdc57a24c1cp-49,  -0x1.2669c784bb4fp-57};
static const real tail_terms[] = {
    0x1.4ec0b88013f3ap-1,   -0x1.0cb236a6a53e8p-4,  -0x1.78777c9acfc0cp-7,  0x1.c635928c17e61p-5,
    -0x1.04373caae29b7p-4,  0x1.8d69ddce53cap-5,    -0x1.be7c4590c3dbp-6,   0x1.678b5b57579b5p-7,
    -0x1.57eaeef7a349fp-9,  -0x1.d1280a232dc48p-15, 0x1.3e77df1f5f3f9p-12,  -0x1.534974a6c6b89p-14,
    -0x1.30c8cb8ba4bc6p-16, 0x1.dd54f4ab56643p-17,  0x1.f3e91691d29eap-23,  -0x1.17c0525d946efp-19,
    0x1.4574ed203b70fp-23,  0x1.52bdc5f6bf34dp-22,  -0x1.0ffb7c3b54be7p-25, -0x1.ac7a32e3c8738p-25,
    0x1.8a2de59e3b53ep-29,  0x1.cd524a181edb7p-28,  0x1.cccfa67d60459p-33,  -0x1.ac2a3dae6f761p-32};
#endif

/* e^x - 1 for x <= 0; 0 for x > 0. */
INLINE vec v_expm1_of_negative(vec x)
{
    ivec biased;
    /* e^-40 is lost beside 1. */
    const vec kept = v_less(x, v_set(-40), v_set(-40), v_less(v_set(0), x, v_set(0), x));
    const vec t = v_exp_reduced(kept, &biased);
    const vec scale = v_from_bits(biased << MANTISSA_BITS);
    return v_fma(scale, t, scale - v_set(1));
}

/* sin(r) (-1)^n for |r| <= 1.01 pi/2; n in the last bit of rounded. A larger r, from an argument so
 * large that it has no fraction, is cut, so that the result stays within -1 .. 1. */
INLINE vec v_sin_reduced(vec r, vec rounded)
{
    const vec end = v_set((real)1.586); /* 1.01 pi / 2: n may be rounded the other way */
    r = v_less(end, r, end, v_less(r, -end, -end, r));
    const vec s = r * r;
    const vec y = v_fma(r * s, v_polynomial(sin_terms, TERMS(sin_terms), s, s * s), r);
    return v_from_bits(v_bits(y) ^ (v_bits(rounded) << (CB_BITS - 1)));
}

INLINE vec v_minus_multiple_of_pi(vec x, vec n)
{
    return v_fma(-n, v_set(PI_3), v_fma(-n, v_set(PI_2), v_fma(-n, v_set(PI_1), x)));
}

/* sin x. Error: 2.5 ULP while |x| is below 10^5 (32 bits) or 10^9 (64 bits). */
INLINE vec v_sin(vec x)
{
    const vec rounder = v_set(INTEGER_ROUNDER);
    const vec rounded = v_fma(x, v_set(PI_INVERSE), rounder);
    return v_sin_reduced(v_minus_multiple_of_pi(x, rounded - rounder), rounded);
}

/* cos x = (-1)^n sin(x - (n - 1/2) pi); likewise. */
INLINE vec v_cos(vec x)
{
    const vec rounder = v_set(INTEGER_ROUNDER), half = v_set((real)0.5);
    const vec rounded = v_fma(x, v_set(PI_INVERSE), half) + rounder;
    return v_sin_reduced(v_minus_multiple_of_pi(x, (rounded - rounder) - half), rounded);
}

/* Phi(x), the standard normal distribution, to 4 ULP; *bell = e^(-x^2 / 2). The tail is
 * bell p(t) / (1 + 1.5 |x|), t = (|x| - k) / (|x| + k), after M. M. Shepherd and J. G. Laframboise,
 * Math. Comp. 36, 1981. */
INLINE vec v_normal(vec x, vec *bell)
{
    const vec one = v_set(1), half = v_set((real)0.5), k = v_set(TAIL_CENTRE);
    const vec most = v_set(TAIL_MOST);
    vec u = v_abs(x);
    u = v_less(most, u, most, u);
    const vec square = u * u, rest = v_fma(u, u, -square);
    const vec e = v_exp(-half * square);
    *bell = v_fma(-half * rest, e, e);
    const vec t = (u - k) / (u + k);
    const vec p = v_polynomial(tail_terms, TERMS(tail_terms), t, t * t);
    const vec tail = *bell * p / v_fma(v_set((real)1.5), u, one);
    return v_less(x, v_set(0), tail, one - tail);
}
