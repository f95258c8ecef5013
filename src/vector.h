/* Vectors of LANES reals for one instruction set: the only place that knows intrinsics.
 *
 * The including file defines CB_BITS (32 or 64) and one of CB_AVX512, CB_AVX2, CB_NEON,
 * CB_PORTABLE. Arithmetic on vec is C's own + - * / (GCC and clang vector extensions,
 * compiled with -ffp-contract=off); whatever a compiler might do differently on another
 * machine has a wrapper here: fma, min, max, sqrt, select. All tables give the same bits.
 */
#include "kernels.h"

#if CB_BITS == 32
typedef float real;
typedef int32_t ireal;
#define REAL_EPSILON 1.1920928955078125e-07f
#define REAL_TINY 1.17549435082228750797e-38f
#else
typedef double real;
typedef int64_t ireal;
#define REAL_EPSILON 2.2204460492503130808e-16
#define REAL_TINY 2.22507385850720138309e-308
#endif

#if defined(CB_AVX512)
#include <immintrin.h>
#define VECTOR_BYTES 64
#elif defined(CB_AVX2)
#include <immintrin.h>
#define VECTOR_BYTES 32
#elif defined(CB_NEON)
#include <arm_neon.h>
#define VECTOR_BYTES 16
#else
#include <math.h>
#define VECTOR_BYTES 16
#endif

#define LANES (VECTOR_BYTES / (int)sizeof(real))
#define INLINE static inline __attribute__((always_inline, unused))

/* Before a loop of a constant number of steps, at most n: none is left, so that what it indexes lies
 * in registers. Clang takes no notice of GCC's spelling and would keep a tile's sums on the stack. */
#define CB_PRAGMA(text) _Pragma(#text)
#if defined(__clang__)
#define UNROLL(n) CB_PRAGMA(clang loop unroll(full))
/* In a loop: the pointer is what it is. Clang would make an index and a dozen pointers of four. */
#define AS_IT_IS(pointer) __asm__("" : "+r"(pointer))
#else
#define UNROLL(n) CB_PRAGMA(GCC unroll n)
#define AS_IT_IS(pointer) (void)(pointer)
#endif

typedef real vec __attribute__((vector_size(VECTOR_BYTES)));
typedef ireal ivec __attribute__((vector_size(VECTOR_BYTES))); /* also: the lanes' bits */
typedef real vec_anywhere
    __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(real)), may_alias));

INLINE vec v_load(const real *p) { return (vec) * (const vec_anywhere *)p; }
INLINE void v_store(real *p, vec x) { *(vec_anywhere *)p = (vec_anywhere)x; }
INLINE vec v_set(real x) { return x - (vec){0}; }
INLINE ivec v_bits(vec x) { return (ivec)x; }
INLINE vec v_from_bits(ivec x) { return (vec)x; }

/* v_fma(a, b, c) = a b + c, rounded once.
 * v_less(a, b, x, y) = a < b ? x : y, lane by lane (y where a or b is NaN). */
#if defined(CB_AVX512) && CB_BITS == 32
INLINE vec v_fma(vec a, vec b, vec c)
{
    return (vec)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
}
INLINE vec v_sqrt(vec x) { return (vec)_mm512_sqrt_ps((__m512)x); }
INLINE vec v_less(vec a, vec b, vec x, vec y)
{
    return (vec)_mm512_mask_blend_ps(_mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_LT_OQ),
                                     (__m512)y, (__m512)x);
}
INLINE vec v_max(vec a, vec b) { return (vec)_mm512_max_ps((__m512)a, (__m512)b); }
INLINE vec v_min(vec a, vec b) { return (vec)_mm512_min_ps((__m512)a, (__m512)b); }
#elif defined(CB_AVX512)
INLINE vec v_fma(vec a, vec b, vec c)
{
    return (vec)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
}
INLINE vec v_sqrt(vec x) { return (vec)_mm512_sqrt_pd((__m512d)x); }
INLINE vec v_less(vec a, vec b, vec x, vec y)
{
    return (vec)_mm512_mask_blend_pd(_mm512_cmp_pd_mask((__m512d)a, (__m512d)b, _CMP_LT_OQ),
                                     (__m512d)y, (__m512d)x);
}
INLINE vec v_max(vec a, vec b) { return (vec)_mm512_max_pd((__m512d)a, (__m512d)b); }
INLINE vec v_min(vec a, vec b) { return (vec)_mm512_min_pd((__m512d)a, (__m512d)b); }
#elif defined(CB_AVX2) && CB_BITS == 32
INLINE vec v_fma(vec a, vec b, vec c)
{
    return (vec)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
}
INLINE vec v_sqrt(vec x) { return (vec)_mm256_sqrt_ps((__m256)x); }
INLINE vec v_less(vec a, vec b, vec x, vec y)
{
    return (vec)_mm256_blendv_ps((__m256)y, (__m256)x,
                                 _mm256_cmp_ps((__m256)a, (__m256)b, _CMP_LT_OQ));
}
INLINE vec v_max(vec a, vec b) { return (vec)_mm256_max_ps((__m256)a, (__m256)b); }
INLINE vec v_min(vec a, vec b) { return (vec)_mm256_min_ps((__m256)a, (__m256)b); }
#elif defined(CB_AVX2)
INLINE vec v_fma(vec a, vec b, vec c)
{
    return (vec)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
}
INLINE vec v_sqrt(vec x) { return (vec)_mm256_sqrt_pd((__m256d)x); }
INLINE vec v_less(vec a, vec b, vec x, vec y)
{
    return (vec)_mm256_blendv_pd((__m256d)y, (__m256d)x,
                                 _mm256_cmp_pd((__m256d)a, (__m256d)b, _CMP_LT_OQ));
}
INLINE vec v_max(vec a, vec b) { return (vec)_mm256_max_pd((__m256d)a, (__m256d)b); }
INLINE vec v_min(vec a, vec b) { return (vec)_mm256_min_pd((__m256d)a, (__m256d)b); }
#elif defined(CB_NEON) && CB_BITS == 32
INLINE vec v_fma(vec a, vec b, vec c)
{
    return (vec)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
}
INLINE vec v_sqrt(vec x) { return (vec)vsqrtq_f32((float32x4_t)x); }
INLINE vec v_less(vec a, vec b, vec x, vec y)
{
    return (vec)vbslq_f32(vcltq_f32((float32x4_t)a, (float32x4_t)b), (float32x4_t)x,
                          (float32x4_t)y);
}
#elif defined(CB_NEON)
INLINE vec v_fma(vec a, vec b, vec c)
{
    return (vec)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b);
}
INLINE vec v_sqrt(vec x) { return (vec)vsqrtq_f64((float64x2_t)x); }
INLINE vec v_less(vec a, vec b, vec x, vec y)
{
    return (vec)vbslq_f64(vcltq_f64((float64x2_t)a, (float64x2_t)b), (float64x2_t)x,
                          (float64x2_t)y);
}
#else /* CB_PORTABLE: libm's fma is the same bits, slow where the CPU has no FMA */
INLINE vec v_fma(vec a, vec b, vec c)
{
    vec r;
    for (int i = 0; i < LANES; i++)
        r[i] = CB_BITS == 32 ? (real)fmaf((float)a[i], (float)b[i], (float)c[i])
                             : (real)fma(a[i], b[i], c[i]);
    return r;
}
INLINE vec v_sqrt(vec x)
{
    vec r;
    for (int i = 0; i < LANES; i++)
        r[i] = CB_BITS == 32 ? (real)sqrtf((float)x[i]) : (real)sqrt(x[i]);
    return r;
}
INLINE vec v_less(vec a, vec b, vec x, vec y)
{
    const ivec mask = (ivec)(a < b);
    return (vec)((mask & (ivec)x) | (~mask & (ivec)y));
}
#endif

#if !defined(CB_AVX512) && !defined(CB_AVX2)
/* x86's rule for all: the second operand where either is NaN. */
INLINE vec v_max(vec a, vec b) { return v_less(b, a, a, b); }
INLINE vec v_min(vec a, vec b) { return v_less(a, b, a, b); }
#endif

INLINE vec v_abs(vec x)
{
    const ireal sign = CB_BITS == 32 ? (ireal)INT32_MIN : (ireal)INT64_MIN;
    return (vec)((ivec)x & ~(sign - (ivec){0}));
}

/* x where s > 0, -x where s < 0, s where it is 0 or NaN. */
INLINE vec v_with_sign(vec x, vec s)
{
    const vec zero = {0};
    return v_less(zero, s, x, v_less(s, zero, -x, s));
}

/* 0, 1, 2 ... */
INLINE vec v_lanes(void)
{
    static const real lane[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    return v_load(lane);
}

/* The first n lanes of x, 0 in the others. */
INLINE vec v_first(cb_index n, vec x) { return v_less(v_lanes(), v_set((real)n), x, (vec){0}); }

/* Lane i + n in lane i, for a constant n; any numbers where there is no such lane. */
INLINE vec v_down(vec x, const int n)
{
#if defined(__clang__)
    vec r = x;
    UNROLL(16)
    for (int i = 0; i < LANES - n; i++)
        r[i] = x[i + n];
    return r;
#else
    ivec from;
    UNROLL(16)
    for (int i = 0; i < LANES; i++)
        from[i] = i + n;
    return __builtin_shuffle(x, from); /* modulo LANES */
#endif
}

/* The upper half to the lower half, until one is left. */
#define HALVE(x, ONTO)                                 \
    do {                                               \
        if (LANES > 8)                                 \
            x = ONTO(x, v_down(x, LANES > 8 ? 8 : 1)); \
        if (LANES > 4)                                 \
            x = ONTO(x, v_down(x, LANES > 4 ? 4 : 1)); \
        if (LANES > 2)                                 \
            x = ONTO(x, v_down(x, LANES > 2 ? 2 : 1)); \
        x = ONTO(x, v_down(x, 1));                     \
    } while (0)
#define PLUS(a, b) ((a) + (b))
#define LARGER(a, b) v_max(b, a)

/* Of a panel's 16 sums. */
INLINE real v_sum(vec s[CB_PANEL / LANES])
{
    for (int half = CB_PANEL / 2; half >= LANES; half /= 2)
        for (int i = 0; i < half / LANES; i++)
            s[i] += s[i + half / LANES];
    vec x = s[0];
    HALVE(x, PLUS);
    return x[0];
}

INLINE real v_largest(vec x)
{
    HALVE(x, LARGER);
    return x[0];
}

#if CB_BITS == 32
/* table[i % 16], lane by lane. */
INLINE vec v_lookup(const real *table, ivec i)
{
#if defined(CB_AVX512)
    return (vec)_mm512_permutexvar_ps((__m512i)i, _mm512_loadu_ps(table));
#elif defined(CB_AVX2)
    const __m256 low = _mm256_permutevar8x32_ps(_mm256_loadu_ps(table), (__m256i)i);
    const __m256 high = _mm256_permutevar8x32_ps(_mm256_loadu_ps(table + 8), (__m256i)i);
    return (vec)_mm256_blendv_ps(low, high, (__m256)(i << 28)); /* by the index's bit 3 */
#else
    vec r;
    for (int k = 0; k < LANES; k++)
        r[k] = table[i[k] & 15];
    return r;
#endif
}
#endif

/* p[0 .. n) in the first n < LANES lanes, 0 in the others; nothing beyond them is read. */
INLINE vec v_load_first(cb_index n, const real *p)
{
#if defined(CB_AVX512) && CB_BITS == 32
    return (vec)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
#elif defined(CB_AVX512)
    return (vec)_mm512_maskz_loadu_pd((__mmask8)((1u << n) - 1), p);
#elif defined(CB_AVX2)
    static const ireal lane[] = {0, 1, 2, 3, 4, 5, 6, 7};
    ivec lanes;
    __builtin_memcpy(&lanes, lane, sizeof lanes);
    const ivec mask = lanes < (ireal)n - (ivec){0};
#if CB_BITS == 32
    return (vec)_mm256_maskload_ps(p, (__m256i)mask);
#else
    return (vec)_mm256_maskload_pd(p, (__m256i)mask);
#endif
#else
    vec x = {0};
    for (int i = 0; i < n; i++)
        x[i] = p[i];
    return x;
#endif
}

/* row[n .. ld) = 0, ld whole panels. */
INLINE void clear_rest(real *row, cb_index n, cb_index ld)
{
    cb_index j = n - n % LANES;
    if (j < n) {
        v_store(row + j, v_first(n - j, v_load(row + j)));
        j += LANES;
    }
    for (; j < ld; j += LANES)
        v_store(row + j, (vec){0});
}

/* n / d within 2 ULP, for n normal and d > 0 whose inverse is normal: by Newton's steps from a
 * first guess, so that a division need not wait for the unit that takes roots. */
INLINE vec v_quotient(vec n, vec d)
{
    const vec one = v_set((real)1);
    const ivec magic =
        (ivec)v_set((real)0) + (CB_BITS == 32 ? (ireal)0x7EF311C3 : (ireal)0x7FDE623822FC16E6);
    vec x = (vec)(magic - v_bits(d));
    for (int i = 0; i < (CB_BITS == 32 ? 2 : 3); i++) {
        const vec e = v_fma(-d, x, one); /* e, then e^3 */
        x = v_fma(x, v_fma(e, e, e), x);
    }
    return n * x;
}
