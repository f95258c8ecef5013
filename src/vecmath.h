/* exp, log, log(1 + x), tanh and the sigmoid, on the vec of vector.h.
 *
 * One path for all lanes, and but for tanh the same operations in float and double; so all
 * instruction sets give the same bits, except that which NaN comes out for a NaN is open.
 * The constants are printed by tests/campaigns/minimax.py; tests/campaigns/ulp.c measures
 * the error bounds stated here, in units in the last place (ULP) of the true value: in
 * float over all arguments, in double over some 10^8 for each function.
 *
 * Subnormal arguments may count as 0 and results below REAL_TINY may be 0, whether or not
 * the CPU flushes subnormals; log takes every subnormal argument for 0.
 *
 * Argument reduction: W. J. Cody, W. Waite, Software Manual for the Elementary Functions,
 * 1980; J.-M. Muller, Elementary Functions, 3rd ed., 2016. A quotient is corrected by what was
 * rounded off the divisor, in double by its exact remainder too: T. J. Dekker, Numer. Math. 18,
 * 1971.
 */
#include <math.h>

#if CB_BITS == 32
typedef uint32_t ureal;
#define MANTISSA_BITS 23
#define EXPONENT_BIAS 127
#define LOG2_E 0x1.715476p+0f
#define LN2_HIGH 0x1.62e43p-1f
#define LN2_LOW (-0x1.05c61p-29f)
#define EXP_MIN (-0x1.5d589ep+6f) /* least x with e^x >= REAL_TINY */
#define EXP_END 0x1.62e43p+6f     /* least x with e^x too large */
#define ROUNDER 0x1.8000fep+23f   /* 1.5 2^23 + EXPONENT_BIAS: its ULP is 1 */
#define SQRT_HALF 0x1.6a09e6p-1f
static const real exp_terms[] = {0x1p-1f, 0x1.5554b6p-3f, 0x1.55548ep-5f, 0x1.12247cp-7f,
                                 0x1.6d93c6p-10f};
static const real log_terms[] = {0x1.5555aep-1f, 0x1.992e82p-2f, 0x1.36ad3ep-2f};
#define TANH_WIDTH (0x1.2c34p-1f) /* of a piece */
#define TANH_END 9.02f            /* tanh rounds to 1 */
static const real tanh_terms[][16] = {
    {0x1p+0f, 0x1.cc68eep-1f, 0x1.68424ep-1f, 0x1.124e42p-1f, 0x1.acaad8p-2f, 0x1.5b4f2ep-2f,
     0x1.228ffap-2f, 0x1.f2b66p-3f, 0x1.b48996p-3f, 0x1.841416p-3f, 0x1.5d488p-3f, 0x1.3d88a2p-3f,
     0x1.2312d6p-3f, 0x1.0cafp-3f, 0x1.f2fbe6p-4f, 0x1.d1b7eap-4f},
    {0x0p+0f, -0x1.3587c2p-2f, -0x1.4fb8e6p-2f, -0x1.ed7e24p-3f, -0x1.4e101ap-3f, -0x1.ca14a2p-4f,
     -0x1.464848p-4f, -0x1.e3dc92p-5f, -0x1.73abd6p-5f, -0x1.2600e8p-5f, -0x1.dc799ep-6f,
     -0x1.89d5aap-6f, -0x1.4af21ep-6f, -0x1.19fe62p-6f, -0x1.e64c38p-7f, -0x1.a79ebep-7f},
    {-0x1.5554bcp-2f, -0x1.11dbap-3f, 0x1.c295a4p-5f, 0x1.3b8d1p-4f, 0x1.be18d2p-5f, 0x1.1919cep-5f,
     0x1.62a824p-6f, 0x1.cee00cp-7f, 0x1.3a973p-7f, 0x1.bc6aa6p-8f, 0x1.44b148p-8f, 0x1.e84c62p-9f,
     0x1.783af4p-9f, 0x1.27f2e4p-9f, 0x1.d9ecfcp-10f, 0x1.815326p-10f},
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
#else
typedef uint64_t ureal;
#define MANTISSA_BITS 52
#define EXPONENT_BIAS 1023
#define LOG2_E 0x1.71547652b82fep+0
#define LN2_HIGH 0x1.62e42fefa39efp-1
#define LN2_LOW 0x1.abc9e3b39803fp-56
#define EXP_MIN (-0x1.6232bdd7abcd2p+9)
#define EXP_END 0x1.62e42fefa39fp+9
#define ROUNDER 0x1.80000000003ffp+52
#define SQRT_HALF 0x1.6a09e667f3bcdp-1
static const real exp_terms[] = {
    0x1.0000000000003p-1,  0x1.555555555555bp-3,  0x1.555555555297ep-5,  0x1.111111110eb17p-7,
    0x1.6c16c17d7967cp-10, 0x1.a01a01b486ad1p-13, 0x1.a019aaebcc0b7p-16, 0x1.71ddecb8b95d3p-19,
    0x1.289ee1f0ef249p-22, 0x1.af72bc6469ae9p-26};
static const real log_terms[] = {0x1.555555555569dp-1, 0x1.999999991ad67p-2, 0x1.2492499b0bb24p-2,
                                 0x1.c71c0d703c87fp-3, 0x1.7473436468016p-3, 0x1.386ebeca16b43p-3,
                                 0x1.3a009fc8a57fep-3};
#endif

typedef ureal uvec __attribute__((vector_size(VECTOR_BYTES)));
#define TERMS(c) ((int)(sizeof(c) / sizeof(*(c))))
#define BITS_OF_ONE ((ireal)EXPONENT_BIAS << MANTISSA_BITS)

INLINE ivec v_set_bits(ireal x) { return x - (ivec){0}; }

/* c[0] + c[1] x + ... + c[n-1] x^(n-1): Horner's rule in x^2 on pairs of terms, which is
 * half as long a chain of dependent operations as in x, and no more of them. */
INLINE vec v_polynomial(const real *c, int n, vec x, vec square)
{
    int i = n - 1 - (n - 1) % 2;
    vec p = i + 1 < n ? v_fma(v_set(c[n - 1]), x, v_set(c[i])) : v_set(c[i]);
    for (i -= 2; i >= 0; i -= 2)
        p = v_fma(p, square, v_fma(v_set(c[i + 1]), x, v_set(c[i])));
    return p;
}

/* e^x = 2^n (1 + t), n an integer, |t| < 0.42. For n = 0, t keeps x's relative accuracy.
 * Returns t; *biased holds n + EXPONENT_BIAS in its low bits. */
INLINE vec v_exp_reduced(vec x, ivec *biased)
{
    const vec rounded = v_fma(x, v_set(LOG2_E), v_set(ROUNDER));
    const vec n = rounded - v_set(ROUNDER);
    const vec r = v_fma(n, v_set(-LN2_LOW), v_fma(n, v_set(-LN2_HIGH), x));
    const vec square = r * r;
    *biased = v_bits(rounded);
    return v_fma(square, v_polynomial(exp_terms, TERMS(exp_terms), r, square), r);
}

/* e^x. Error: 32 bits 1.08, 64 bits 1.08 ULP. */
INLINE vec v_exp(vec x)
{
    ivec biased;
    const vec t = v_exp_reduced(x, &biased);
    /* Adding to the exponent's bits does n = 128 too, where 2^n would overflow. */
    const ivec n = (ivec)((uvec)biased - (ureal)EXPONENT_BIAS) << MANTISSA_BITS;
    const vec y = v_from_bits((ivec)((uvec)v_bits(v_set(1) + t) + (uvec)n));
    const vec large = v_less(x, v_set(EXP_END), y, x + v_set((real)INFINITY));
    return v_less(x, v_set(EXP_MIN), v_set(0), large);
}

/* 1 / (1 + e^-x): with e = e^-|x| and 1 + e as d - d_excess, e / (1 + e) is the answer for x < 0
 * and 1 - e / (1 + e) for the others. 1 / d is 1 - e / d, so one division is enough.
 * Error: 32 bits 1.97, 64 bits 1.47 ULP. */
INLINE vec v_sigmoid(vec x)
{
    const vec one = v_set(1), minus = v_from_bits(v_bits(x) | v_bits(v_set((real)-0.0)));
    ivec biased;
    /* At the limit biased is 0, so that scale and e are 0, not 2^-EXPONENT_BIAS. */
    const vec t = v_exp_reduced(v_max(v_set(EXP_MIN - (real)0.5), minus), &biased);
    const vec scale = v_from_bits(biased << MANTISSA_BITS);
    const vec e = v_fma(scale, t, scale);
    const vec d = one + e;
    const vec d_excess = (d - one) - e;
    const vec q = e / d;
    vec remainder = q * d_excess;
    if (CB_BITS == 64) /* without it 2 ULP are not certain */
        remainder = v_fma(q, d_excess, v_fma(q, -d, e));
    const vec below = v_fma(remainder, one - q, q);
    return v_less(x, v_set(0), below, one - below);
}

#if CB_BITS == 32
/* x q(|x|), q(u) = tanh(u) / u: in each of 16 pieces, the k-th about k TANH_WIDTH, a polynomial in
 * the distance from there. Looked up, its terms cost less than what a quotient needs. Never
 * above 1. Error: 1.82 ULP. */
INLINE vec v_tanh(vec x)
{
    const vec rounder = v_set(0x1.8p+23f); /* its ULP is 1 */
    const ivec sign = v_bits(v_set(-0.0f));
    const vec u = v_min(v_set(TANH_END), v_abs(x));
    const vec rounded = v_fma(u, v_set(1 / TANH_WIDTH), rounder);
    const vec t = v_fma(rounder - rounded, v_set(TANH_WIDTH), u);
    const ivec piece = v_bits(rounded);
    int i = TERMS(tanh_terms) - 1;
    vec q = v_lookup(tanh_terms[i], piece);
    while (i-- > 0)
        q = v_fma(q, t, v_lookup(tanh_terms[i], piece));
    return v_from_bits(v_bits(u * q) | (v_bits(x) & sign));
}
#else
/* tanh x = m / d, m = e^(-2|x|) - 1, d = -2 - m, with the sign of x; m as m + m_low and d
 * as d - d_excess. 1 / d is -(1 + tanh |x|) / 2, so one division is enough. Where the
 * result is an ULP or two below 1, scale - 1 is rounded and m_low does not know of it.
 * Error: 1.58 ULP. */
INLINE vec v_tanh(vec x)
{
    const vec one = v_set(1), minus_two = v_set(-2), minus_half = v_set((real)-0.5);
    const ivec sign = v_bits(v_set((real)-0.0));
    ivec biased;
    /* tanh 20 rounds to 1. */
    const vec t = v_exp_reduced(minus_two * v_min(v_set(20), v_abs(x)), &biased);
    const vec scale = v_from_bits(biased << MANTISSA_BITS);
    const vec whole = scale - one;
    const vec m = v_fma(scale, t, whole);
    const vec m_low = v_fma(scale, t, whole - m);
    const vec d = minus_two - m;
    const vec d_excess = (m - (minus_two - d)) + m_low;
    const vec q = m / d;
    const vec remainder = v_fma(q, -d, m) + v_fma(q, d_excess, m_low);
    const vec corrected = v_fma(remainder, v_fma(q, minus_half, minus_half), q);
    return v_from_bits(v_bits(corrected) ^ ((v_bits(corrected) ^ v_bits(x)) & sign));
}
#endif

/* k log 2 + log(1 + f), -0.3 < f <= 0.5: with s = f / (2 + f),
 * log(1 + f) = 2 atanh s = f - f^2/2 + s (f^2/2 + R), R = s^2 p(s^2). */
INLINE vec v_log_reduced(vec k, vec f)
{
    const vec s = f / (v_set(2) + f);
    const vec z = s * s;
    const vec half_square = v_set((real)0.5) * f * f;
    const vec sum = v_fma(z, v_polynomial(log_terms, TERMS(log_terms), z, z * z), half_square);
    const vec small = v_fma(s, sum, k * v_set(LN2_LOW));
    return v_fma(k, v_set(LN2_HIGH), f - (half_square - small));
}

/* log x: x = 2^k (1 + f), sqrt(1/2) <= 1 + f < sqrt(2).
 * Error: 32 bits 0.86, 64 bits 0.95 ULP. */
INLINE vec v_log(vec x)
{
    const ivec low_end = v_bits(v_set(SQRT_HALF));
    const ivec mantissa = v_set_bits(((ireal)1 << MANTISSA_BITS) - 1);
    const ivec shifted = (ivec)((uvec)v_bits(x) + (uvec)(v_set_bits(BITS_OF_ONE) - low_end));
    const vec one_f = v_from_bits((shifted & mantissa) + low_end);
    /* k + EXPONENT_BIAS, put into the low bits of 2^MANTISSA_BITS, converts itself. */
    const vec magic = v_set((real)((ireal)1 << MANTISSA_BITS));
    const ivec biased = (ivec)((uvec)shifted >> MANTISSA_BITS);
    const vec k = v_from_bits(biased | v_bits(magic)) - (magic + v_set(EXPONENT_BIAS));
    const vec y = v_log_reduced(k, one_f - v_set(1));
    const vec finite = v_less(x, v_set((real)INFINITY), y, x);
    const vec tiny = v_set(REAL_TINY);
    const vec rest = v_less(-tiny, x, v_set((real)-INFINITY), v_set((real)NAN));
    return v_less(x, tiny, rest, finite);
}

/* log(1 + x) for 0 <= x <= 1, as log(1 + x) or log 2 + log(1 + (x - 1) / 2), whose
 * arguments are exact. Error: 32 bits 0.93, 64 bits 1.01 ULP. */
INLINE vec v_log1p_unit(vec x)
{
    const vec half = v_set((real)0.5);
    const vec k = v_less(x, half, v_set(0), v_set(1));
    return v_log_reduced(k, v_less(x, half, x, half * (x - v_set(1))));
}
