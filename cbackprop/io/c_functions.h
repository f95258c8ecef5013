/* What export_c writes before the layers: the functions of src/vecmath.h, src/specialmath.h and
 * src/activations.h for one number, with the same operations in the same order, so that they give
 * the same bits; tests/test_c_export.py holds every one against the kernels. c_header.py takes the
 * parts that a network asks for, keeps one branch of CB_BITS, writes float or double for cb_real,
 * decimals for hexadecimal constants (C++ before 2017 has no others), and the network's name for cb_
 * and CB_.
 *
 * Kernels run with subnormal numbers counted as 0; cb_flush does that where it could be seen.
 */
/* part: flush */
/* 0 for subnormal numbers. */
#if CB_BITS == 32
#define CB_TINY 0x1p-126f
#else
#define CB_TINY 0x1p-1022
#endif
static inline cb_real cb_flush(cb_real x) { return x < CB_TINY && -CB_TINY < x ? x * 0 : x; }

/* part: bits */
static inline CB_UINT cb_bits(cb_real x)
{
    CB_UINT bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline cb_real cb_from_bits(CB_UINT bits)
{
    cb_real x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* part: polynomial */
/* c[0] + c[1] x + ... + c[n-1] x^(n-1) */
static inline cb_real cb_polynomial(const cb_real *c, int n, cb_real x, cb_real square)
{
    int i = n - 1 - (n - 1) % 2;
    cb_real p = i + 1 < n ? CB_FMA(c[n - 1], x, c[i]) : c[i];
    for (i -= 2; i >= 0; i -= 2)
        p = CB_FMA(p, square, CB_FMA(c[i + 1], x, c[i]));
    return p;
}

/* part: reduced; bits polynomial */
/* e^x = 2^n (1 + t): returns t; *biased holds n + CB_EXPONENT_BIAS in its low bits. */
#if CB_BITS == 32
#define CB_MANTISSA_BITS 23
#define CB_EXPONENT_BIAS 127
#define CB_LOG2_E 0x1.715476p+0f
#define CB_LN2_HIGH 0x1.62e43p-1f
#define CB_LN2_LOW (-0x1.05c61p-29f)
#define CB_EXP_MIN (-0x1.5d589ep+6f)
#define CB_EXP_END 0x1.62e43p+6f
#define CB_ROUNDER 0x1.8000fep+23f
#else
#define CB_MANTISSA_BITS 52
#define CB_EXPONENT_BIAS 1023
#define CB_LOG2_E 0x1.71547652b82fep+0
#define CB_LN2_HIGH 0x1.62e42fefa39efp-1
#define CB_LN2_LOW 0x1.abc9e3b39803fp-56
#define CB_EXP_MIN (-0x1.6232bdd7abcd2p+9)
#define CB_EXP_END 0x1.62e42fefa39fp+9
#define CB_ROUNDER 0x1.80000000003ffp+52
#endif
static inline cb_real cb_exp_reduced(cb_real x, CB_UINT *biased)
{
#if CB_BITS == 32
    static const cb_real terms[] = {0x1p-1f, 0x1.5554b6p-3f, 0x1.55548ep-5f, 0x1.12247cp-7f,
                                    0x1.6d93c6p-10f};
#else
    static const cb_real terms[] = {
        0x1.0000000000003p-1,  0x1.555555555555bp-3,  0x1.555555555297ep-5,  0x1.111111110eb17p-7,
        0x1.6c16c17d7967cp-10, 0x1.a01a01b486ad1p-13, 0x1.a019aaebcc0b7p-16, 0x1.71ddecb8b95d3p-19,
        0x1.289ee1f0ef249p-22, 0x1.af72bc6469ae9p-26};
#endif
    const cb_real rounded = CB_FMA(x, CB_LOG2_E, CB_ROUNDER);
    const cb_real n = rounded - CB_ROUNDER;
    const cb_real r = CB_FMA(n, -CB_LN2_LOW, CB_FMA(n, -CB_LN2_HIGH, x));
    const cb_real square = r * r;
    *biased = cb_bits(rounded);
    return CB_FMA(square, cb_polynomial(terms, (int)(sizeof terms / sizeof terms[0]), r, square),
                  r);
}

/* part: exp; reduced */
/* e^x */
static inline cb_real cb_exp(cb_real x)
{
    CB_UINT biased;
    const cb_real t = cb_exp_reduced(x, &biased);
    const CB_UINT n = (CB_UINT)(biased - CB_EXPONENT_BIAS) << CB_MANTISSA_BITS;
    if (x < CB_EXP_MIN)
        return 0;
    return x < CB_EXP_END ? cb_from_bits(cb_bits(1 + t) + n) : x + CB_INFINITY;
}

/* part: sigmoid; reduced flush */
/* 1 / (1 + e^-x) */
static inline cb_real cb_sigmoid(cb_real x)
{
    const cb_real least = CB_EXP_MIN - (cb_real)0.5, minus = -CB_ABS(x);
    CB_UINT biased;
    const cb_real t = cb_exp_reduced(minus < least ? least : minus, &biased);
    const cb_real scale = cb_from_bits(biased << CB_MANTISSA_BITS);
    const cb_real e = CB_FMA(scale, t, scale);
    const cb_real d = 1 + e;
    const cb_real d_excess = (d - 1) - e;
    const cb_real q = e / d;
#if CB_BITS == 32
    const cb_real rest = q * d_excess;
#else
    const cb_real rest = CB_FMA(q, d_excess, cb_flush(CB_FMA(q, -d, e)));
#endif
    const cb_real below = CB_FMA(cb_flush(rest), 1 - q, q);
    return cb_flush(x < 0 ? below : 1 - below);
}

/* part: tanh; reduced flush */
static inline cb_real cb_tanh(cb_real x)
{
#if CB_BITS == 32
    static const cb_real terms[][16] = {
        {0x1p+0f, 0x1.cc68eep-1f, 0x1.68424ep-1f, 0x1.124e42p-1f, 0x1.acaad8p-2f, 0x1.5b4f2ep-2f,
         0x1.228ffap-2f, 0x1.f2b66p-3f, 0x1.b48996p-3f, 0x1.841416p-3f, 0x1.5d488p-3f,
         0x1.3d88a2p-3f, 0x1.2312d6p-3f, 0x1.0cafp-3f, 0x1.f2fbe6p-4f, 0x1.d1b7eap-4f},
        {0x0p+0f, -0x1.3587c2p-2f, -0x1.4fb8e6p-2f, -0x1.ed7e24p-3f, -0x1.4e101ap-3f,
         -0x1.ca14a2p-4f, -0x1.464848p-4f, -0x1.e3dc92p-5f, -0x1.73abd6p-5f, -0x1.2600e8p-5f,
         -0x1.dc799ep-6f, -0x1.89d5aap-6f, -0x1.4af21ep-6f, -0x1.19fe62p-6f, -0x1.e64c38p-7f,
         -0x1.a79ebep-7f},
        {-0x1.5554bcp-2f, -0x1.11dbap-3f, 0x1.c295a4p-5f, 0x1.3b8d1p-4f, 0x1.be18d2p-5f,
         0x1.1919cep-5f, 0x1.62a824p-6f, 0x1.cee00cp-7f, 0x1.3a973p-7f, 0x1.bc6aa6p-8f,
         0x1.44b148p-8f, 0x1.e84c62p-9f, 0x1.783af4p-9f, 0x1.27f2e4p-9f, 0x1.d9ecfcp-10f,
         0x1.815326p-10f},
        {0x0p+0f, 0x1.476d6ap-3f, 0x1.86d77ep-5f, -0x1.16d29ap-7f, -0x1.bb3538p-7f, -0x1.2cc19cp-7f,
         -0x1.67dc0ep-8f, -0x1.abf82ep-9f, -0x1.05fdcap-9f, -0x1.4d69bep-10f, -0x1.b9161p-11f,
         -0x1.2e4b04p-11f, -0x1.ab77ep-12f, -0x1.3685fcp-12f, -0x1.cdd398p-13f, -0x1.5e7aa8p-13f},
        {0x1.10ba26p-3f, -0x1.4c0d1cp-6f, -0x1.673eeep-5f, -0x1.14a8fap-7f, 0x1.4f6584p-10f,
         0x1.f11afap-10f, 0x1.430068p-10f, 0x1.72ebf4p-11f, 0x1.a5bec2p-12f, 0x1.eba424p-13f,
         0x1.290f96p-13f, 0x1.74c9fp-14f, 0x1.e4ce14p-15f, 0x1.458e9ep-15f, 0x1.c1e252p-16f,
         0x1.3ebb12p-16f},
        {0x0p+0f, -0x1.83670ep-5f, 0x1.c1b3a4p-7f, 0x1.cd7dbp-8f, 0x1.0ad142p-10f, -0x1.5d763p-13f,
         -0x1.cce39p-13f, -0x1.209486p-13f, -0x1.40bf48p-14f, -0x1.5ff006p-15f, -0x1.8a6f18p-16f,
         -0x1.c8f5acp-17f, -0x1.126fdep-17f, -0x1.556c3cp-18f, -0x1.b6c458p-19f, -0x1.2216ccp-19f},
        {-0x1.9e16acp-5f, 0x1.9d4a8p-6f, 0x1.7e9af4p-9f, -0x1.76541cp-9f, -0x1.8b32cep-11f,
         -0x1.6863cp-14f, 0x1.4fd08p-16f, 0x1.6d81dcp-16f, 0x1.b6fa2ap-17f, 0x1.d9d80cp-18f,
         0x1.f8de26p-19f, 0x1.120684p-19f, 0x1.32b768p-20f, 0x1.634c58p-21f, 0x1.a9dd64p-22f,
         0x1.0eacd4p-22f}};
    const cb_real size = CB_ABS(x), u = size > 9.02f ? 9.02f : size;
    const cb_real rounded = CB_FMA(u, 1 / 0x1.2c34p-1f, 0x1.8p+23f);
    const cb_real t = CB_FMA(0x1.8p+23f - rounded, 0x1.2c34p-1f, u);
    const int piece = (int)(cb_bits(rounded) & 15);
    int i = (int)(sizeof terms / sizeof terms[0]) - 1;
    cb_real q = terms[i][piece], y;
    while (i-- > 0)
        q = CB_FMA(q, t, terms[i][piece]);
    y = cb_flush(u * q);
#else
    const cb_real size = CB_ABS(x);
    CB_UINT biased;
    const cb_real t = cb_exp_reduced(-2 * (size > 20 ? 20 : size), &biased);
    const cb_real scale = cb_from_bits(biased << CB_MANTISSA_BITS);
    const cb_real whole = scale - 1;
    const cb_real m = CB_FMA(scale, t, whole);
    const cb_real m_low = cb_flush(CB_FMA(scale, t, whole - m));
    const cb_real d = -2 - m;
    const cb_real d_excess = (m - (-2 - d)) + m_low;
    const cb_real q = m / d;
    const cb_real rest = cb_flush(CB_FMA(q, -d, m)) + cb_flush(CB_FMA(q, d_excess, m_low));
    const cb_real y = CB_FMA(cb_flush(rest), CB_FMA(q, (cb_real)-0.5, (cb_real)-0.5), q);
#endif
    return cb_bits(x) >> (CB_BITS - 1) ? -CB_ABS(y) : CB_ABS(y);
}

/* part: log1p; polynomial reduced */
/* log(1 + x) for 0 <= x <= 1 */
static inline cb_real cb_log1p_unit(cb_real x)
{
#if CB_BITS == 32
    static const cb_real terms[] = {0x1.5555aep-1f, 0x1.992e82p-2f, 0x1.36ad3ep-2f};
#else
    static const cb_real terms[] = {
        0x1.555555555569dp-1, 0x1.999999991ad67p-2, 0x1.2492499b0bb24p-2, 0x1.c71c0d703c87fp-3,
        0x1.7473436468016p-3, 0x1.386ebeca16b43p-3, 0x1.3a009fc8a57fep-3};
#endif
    const cb_real half = (cb_real)0.5, k = x < half ? 0 : 1;
    const cb_real f = x < half ? x : half * (x - 1);
    const cb_real s = f / (2 + f);
    const cb_real z = s * s;
    const cb_real half_square = half * f * f;
    const cb_real p = cb_polynomial(terms, (int)(sizeof terms / sizeof terms[0]), z, z * z);
    const cb_real small = CB_FMA(s, CB_FMA(z, p, half_square), k * CB_LN2_LOW);
    return CB_FMA(k, CB_LN2_HIGH, f - (half_square - small));
}

/* part: expm1; reduced */
/* e^x - 1 for x <= 0; 0 for x > 0 */
static inline cb_real cb_expm1_of_negative(cb_real x)
{
    CB_UINT biased;
    const cb_real t = cb_exp_reduced(x < -40 ? -40 : 0 < x ? 0 : x, &biased);
    const cb_real scale = cb_from_bits(biased << CB_MANTISSA_BITS);
    return CB_FMA(scale, t, scale - 1);
}

/* part: sin; bits polynomial */
#if CB_BITS == 32
#define CB_PI_1 0x1.921fb6p+1f
#define CB_PI_2 (-0x1.777a5cp-24f)
#define CB_PI_3 (-0x1.ee59dap-49f)
#define CB_PI_INVERSE 0x1.45f306p-2f
#define CB_INTEGER_ROUNDER 0x1.8p+23f
#else
#define CB_PI_1 0x1.921fb54442d18p+1
#define CB_PI_2 0x1.1a62633145c07p-53
#define CB_PI_3 (-0x1.f1976b7ed8fbcp-109)
#define CB_PI_INVERSE 0x1.45f306dc9c883p-2
#define CB_INTEGER_ROUNDER 0x1.8p+52
#endif
static inline cb_real cb_sin(cb_real x)
{
#if CB_BITS == 32
    static const cb_real terms[] = {-0x1.555556p-3f, 0x1.11110cp-7f, -0x1.a017e4p-13f,
                                    0x1.71715p-19f, -0x1.9a6ecp-26f};
#else
    static const cb_real terms[] = {
        -0x1.5555555555555p-3,  0x1.1111111111111p-7,   -0x1.a01a01a019fddp-13,
        0x1.71de3a5569d7dp-19,  -0x1.ae64567d5266fp-26, 0x1.6124604c3ad36p-33,
        -0x1.ae7eb68602cd3p-41, 0x1.94fdc57a24c1cp-49,  -0x1.2669c784bb4fp-57};
#endif
    const cb_real end = (cb_real)1.586;
    const cb_real rounded = CB_FMA(x, CB_PI_INVERSE, CB_INTEGER_ROUNDER);
    const cb_real n = rounded - CB_INTEGER_ROUNDER;
    cb_real r = CB_FMA(-n, CB_PI_3, CB_FMA(-n, CB_PI_2, CB_FMA(-n, CB_PI_1, x)));
    r = end < r ? end : r < -end ? -end : r;
    const cb_real s = r * r;
    const cb_real p = cb_polynomial(terms, (int)(sizeof terms / sizeof terms[0]), s, s * s);
    const cb_real y = CB_FMA(r * s, p, r);
    return cb_bits(rounded) & 1 ? -y : y;
}

/* part: normal; exp flush polynomial */
/* Phi(x), the standard normal distribution */
static inline cb_real cb_normal(cb_real x)
{
#if CB_BITS == 32
    static const cb_real terms[] = {0x1.525e24p-1f,  -0x1.ea57d6p-5f,  -0x1.516e3ap-5f,
                                    0x1.429316p-4f,  -0x1.0507b2p-4f,  0x1.fe7d76p-6f,
                                    -0x1.fc9cdap-8f, -0x1.99e6aap-11f, 0x1.27e44ep-10f,
                                    -0x1.ea135p-15f, -0x1.ca73d2p-14f};
    const cb_real k = 4, most = 14;
#else
    static const cb_real terms[] = {
        0x1.4ec0b88013f3ap-1,   -0x1.0cb236a6a53e8p-4,  -0x1.78777c9acfc0cp-7,
        0x1.c635928c17e61p-5,   -0x1.04373caae29b7p-4,  0x1.8d69ddce53cap-5,
        -0x1.be7c4590c3dbp-6,   0x1.678b5b57579b5p-7,   -0x1.57eaeef7a349fp-9,
        -0x1.d1280a232dc48p-15, 0x1.3e77df1f5f3f9p-12,  -0x1.534974a6c6b89p-14,
        -0x1.30c8cb8ba4bc6p-16, 0x1.dd54f4ab56643p-17,  0x1.f3e91691d29eap-23,
        -0x1.17c0525d946efp-19, 0x1.4574ed203b70fp-23,  0x1.52bdc5f6bf34dp-22,
        -0x1.0ffb7c3b54be7p-25, -0x1.ac7a32e3c8738p-25, 0x1.8a2de59e3b53ep-29,
        0x1.cd524a181edb7p-28,  0x1.cccfa67d60459p-33,  -0x1.ac2a3dae6f761p-32};
    const cb_real k = 5, most = 39;
#endif
    const cb_real half = (cb_real)0.5, size = CB_ABS(x);
    const cb_real u = most < size ? most : size;
    const cb_real square = u * u, rest = CB_FMA(u, u, -square);
    const cb_real e = cb_exp(-half * square);
    const cb_real bell = CB_FMA(-half * rest, e, e);
    const cb_real t = (u - k) / (u + k);
    const cb_real p = cb_polynomial(terms, (int)(sizeof terms / sizeof terms[0]), t, t * t);
    const cb_real tail = cb_flush(cb_flush(bell * p) / CB_FMA((cb_real)1.5, u, 1));
    return x < 0 ? tail : 1 - tail;
}

/* part: softmax; exp flush */
/* a_j = exp(z_j - max z) / sum_k exp(z_k - max z); the sum runs in 16 lanes. */
static inline void cb_softmax(cb_real *a, int n)
{
    cb_real top = a[0], sum[16] = {0};
    for (int j = 1; j < n; j++)
        top = a[j] > top ? a[j] : top;
    for (int j = 0; j < n; j++) {
        a[j] = cb_exp(cb_flush(a[j] - top));
        sum[j % 16] += a[j];
    }
    for (int half = 8; half > 0; half /= 2)
        for (int i = 0; i < half; i++)
            sum[i] += sum[i + half];
    for (int j = 0; j < n; j++)
        a[j] /= sum[0];
}
