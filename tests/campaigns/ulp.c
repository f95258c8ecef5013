/* Measures the vector functions of src/vecmath.h: for each, the largest error in ULP and
 * where, a hash of all output bits, the special values, and the time for 16 elements.
 *
 *   cc -O3 -ffp-contract=off -fno-math-errno -fno-trapping-math -Wno-psabi -mavx2 -mfma
 *      -DCB_AVX2 -DCB_BITS=32 -Isrc tests/campaigns/ulp.c -lm
 *   a.out [stride [hash|all [subnormals]]]
 *
 * 32 bits: every stride-th bit pattern is an argument, 1 means all; the truth is libm in
 * double. 64 bits: 10^8 / stride arguments a function, half of them random bit patterns,
 * half from the ranges where the result is interesting; the truth is libm in long double,
 * which needs x86's 80 bits or more. "hash" leaves the truth out: quick, to compare the
 * tables. "subnormals" leaves flush-to-zero off, which a worker has on.
 * Exit status 1 where an error is above 2 ULP or a special value is wrong.
 */
#include "vector.h"
#include "vecmath.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BLOCK 4096
#define LARGEST_ERROR 2.0

#if CB_BITS == 32
typedef double truth_t;
#define TRUE_FUNCTION(f) f
#else
typedef long double truth_t;
#define TRUE_FUNCTION(f) f##l
#endif

typedef struct {
    const char *name;
    void (*run)(const real *x, real *y, int n);
    truth_t (*truth)(truth_t x);
    double low, high; /* the interesting range; also timed */
    double domain[2]; /* what the function promises to take */
} function_t;

typedef struct {
    double error;
    real where;
    uint64_t hash, count;
} result_t;

#define RUN(f)                                         \
    static void run_##f(const real *x, real *y, int n) \
    {                                                  \
        for (int i = 0; i < n; i += LANES)             \
            v_store(y + i, v_##f(v_load(x + i)));      \
    }
RUN(exp)
RUN(log)
RUN(tanh)
RUN(sigmoid)
RUN(log1p_unit)

static truth_t true_sigmoid(truth_t x)
{
    const truth_t e = TRUE_FUNCTION(exp)(-TRUE_FUNCTION(fabs)(x));
    return (x < 0 ? e : 1) / (1 + e);
}

static const function_t functions[] = {
    {"exp", run_exp, TRUE_FUNCTION(exp), -20, 20, {-INFINITY, INFINITY}},
    {"log", run_log, TRUE_FUNCTION(log), 0.1, 4, {-INFINITY, INFINITY}},
    {"tanh", run_tanh, TRUE_FUNCTION(tanh), -4, 4, {-INFINITY, INFINITY}},
    {"sigmoid", run_sigmoid, true_sigmoid, -20, 40, {-INFINITY, INFINITY}},
    {"log1p_unit", run_log1p_unit, TRUE_FUNCTION(log1p), 0, 1, {0, 1}},
};
#define FUNCTIONS ((int)(sizeof functions / sizeof *functions))

/* As on a worker: results and arguments below REAL_TINY are 0. */
static void flush_subnormals(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_ldmxcsr(__builtin_ia32_stmxcsr() | 0x8040);
#elif defined(__aarch64__)
    uint64_t fpcr;
    __asm__ volatile("mrs %0, fpcr" : "=r"(fpcr));
    __asm__ volatile("msr fpcr, %0" : : "r"(fpcr | (UINT64_C(1) << 24)));
#endif
}

static real from_bits(uint64_t bits)
{
    const ureal u = (ureal)bits;
    real x;
    memcpy(&x, &u, sizeof x);
    return x;
}

static uint64_t to_bits(real x)
{
    ureal u;
    memcpy(&u, &x, sizeof u);
    return u;
}

/* The same with and without flushing: no arithmetic. */
static int is_subnormal(real x)
{
    const uint64_t size = to_bits(x) << (65 - CB_BITS) >> (65 - CB_BITS);
    return size != 0 && size < (UINT64_C(1) << MANTISSA_BITS);
}

/* |y - truth| in units in the last place of truth; huge for NaN or infinity by mistake. */
static double ulp_error(real y, truth_t truth)
{
    int exponent;
    if (truth != truth || y != y)
        return (truth != truth) == (y != y) ? 0 : HUGE_VAL;
    const truth_t size = TRUE_FUNCTION(fabs)(truth);
    if (size < REAL_TINY)
        return fabs((double)y) <= (double)REAL_TINY ? 0 : HUGE_VAL;
    if (size > (truth_t)(REAL_EPSILON / 4 + 1) * TRUE_FUNCTION(ldexp)(1, EXPONENT_BIAS + 1))
        return (truth_t)y == (truth < 0 ? -INFINITY : INFINITY) ? 0 : HUGE_VAL;
    TRUE_FUNCTION(frexp)(size, &exponent);
    truth_t finite = y;
    if (y - y != 0)
        finite = TRUE_FUNCTION(copysign)(TRUE_FUNCTION(ldexp)(1, EXPONENT_BIAS + 1), (truth_t)y);
    return (double)TRUE_FUNCTION(ldexp)(TRUE_FUNCTION(fabs)(finite - truth),
                                        MANTISSA_BITS + 1 - exponent);
}

static void check_block(const function_t *f, const real *x, int n, int hash_only, result_t *r)
{
    static real y[BLOCK];
    f->run(x, y, BLOCK);
    for (int i = 0; i < n; i++) {
        const uint64_t bits = y[i] == y[i] ? to_bits(y[i]) : 1; /* any NaN is as good */
        r->hash = (r->hash ^ bits) * UINT64_C(0x9E3779B97F4A7C15);
        r->hash ^= r->hash >> 29;
    }
    r->count += (uint64_t)n;
    for (int i = 0; i < n && !hash_only; i++) {
        /* A subnormal argument is itself or 0. */
        double error = ulp_error(y[i], f->truth(x[i]));
        if (is_subnormal(x[i]) && ulp_error(y[i], f->truth(x[i] < 0 ? -(truth_t)0 : 0)) < error)
            error = 0;
        if (error > r->error) {
            r->error = error;
            r->where = x[i];
        }
    }
}

static uint64_t random_state = 1;

/* G. L. Steele, D. Lea, C. H. Flood, Fast splittable pseudorandom number generators, 2014. */
static uint64_t random_bits(void)
{
    uint64_t z = random_state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

static double uniform(double low, double high)
{
    return low + (high - low) * ((double)(random_bits() >> 11) * 0x1p-53);
}

/* Argument i for 64 bits: the interesting range, a small argument of any exponent down to
 * 2^-60, the whole range where exp is finite, any bits, by turns. */
static real sample(const function_t *f, uint64_t i)
{
    real x;
    if (i % 4 < 2)
        return (real)uniform(f->low, f->high);
    if (i % 4 == 2 && f->domain[0] < 0)
        return (real)uniform(f->low * 36, f->high * 36);
    if (i % 8 == 3 || f->domain[0] == 0) {
        const int exponent = -(int)(random_bits() % 60);
        return (real)ldexp(uniform(f->low < 0 ? -1 : 0, 1), exponent);
    }
    do
        x = from_bits(random_bits());
    while (x != x);
    return x;
}

static result_t measure(const function_t *f, uint64_t stride, int hash_only)
{
    static real x[BLOCK];
    result_t r = {0, 0, 0, 0};
    const uint64_t total = CB_BITS == 32 ? (UINT64_C(1) << 32) : 100 * 1000 * 1000;
    int n = 0;
    random_state = 1;
    for (uint64_t i = 0; i < total; i += stride) {
        x[n] = CB_BITS == 32 ? from_bits(i) : sample(f, i / stride);
        if (x[n] == x[n] && !((double)x[n] >= f->domain[0] && (double)x[n] <= f->domain[1]))
            continue;
        if (++n == BLOCK) {
            check_block(f, x, n, hash_only, &r);
            n = 0;
        }
    }
    check_block(f, x, n, hash_only, &r);
    return r;
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Nanoseconds of one clock, from a chain of multiplications that take 3 each; 0: unknown. */
static double clock_ns(void)
{
#if defined(__x86_64__)
    uint64_t a = 3;
    const double start = seconds();
    for (int i = 0; i < 10 * 1000 * 1000; i++)
        __asm__ volatile("imul %0, %0\n\timul %0, %0\n\timul %0, %0" : "+r"(a));
    return (seconds() - start) * 1e9 / 9e7;
#else
    return 0;
#endif
}

/* The least of many times, in nanoseconds for 16 elements. */
static double time_16(const function_t *f)
{
    static real x[BLOCK], y[BLOCK];
    double best = HUGE_VAL;
    for (int i = 0; i < BLOCK; i++)
        x[i] = (real)uniform(f->low, f->high);
    for (int k = 0; k < 500; k++) {
        const double start = seconds();
        f->run(x, y, BLOCK);
        best = fmin(best, seconds() - start);
    }
    return best * 1e9 * 16 / BLOCK;
}

/* Returns how many special values are wrong. */
static int special_values(void)
{
    const double inf = INFINITY, nan = NAN;
    const double cases[][3] = {
        /* function, argument, value */
        {0, inf, inf}, {0, -inf, 0},  {0, nan, nan},   {0, 0, 1},         {0, 1e5, inf},
        {0, -1e5, 0},  {1, 0, -inf},  {1, -0.0, -inf}, {1, inf, inf},     {1, -inf, nan},
        {1, -1, nan},  {1, nan, nan}, {1, 1, 0},       {2, inf, 1},       {2, -inf, -1},
        {2, nan, nan}, {2, 0, 0},     {2, -0.0, -0.0}, {2, 1e-30, 1e-30}, {3, inf, 1},
        {3, -inf, 0},  {3, nan, nan}, {3, 0, 0.5},     {3, -0.0, 0.5},    {3, -1e5, 0},
        {3, 1e5, 1},   {4, 0, 0},     {4, nan, nan},   {4, 1e-30, 1e-30}};
    int wrong = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const function_t *f = &functions[(int)cases[i][0]];
        const real value = (real)cases[i][2];
        real x[LANES], y[LANES];
        for (int j = 0; j < LANES; j++)
            x[j] = (real)cases[i][1];
        f->run(x, y, LANES);
        if (value == value ? to_bits(y[0]) != to_bits(value) : y[0] == y[0]) {
            printf("%s(%g) is %g, not %g\n", f->name, (double)x[0], (double)y[0], (double)value);
            wrong++;
        }
    }
    return wrong;
}

int main(int argc, char **argv)
{
    const uint64_t stride = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
    const int hash_only = argc > 2 && strcmp(argv[2], "hash") == 0;
    int bad;
    if (stride == 0) {
        fputs("usage: ulp [stride [hash|all [subnormals]]]\n", stderr);
        return 2;
    }
    if (argc <= 3)
        flush_subnormals();
    bad = special_values();
    printf("%d bits, %d lanes, stride %llu\n", CB_BITS, LANES, (unsigned long long)stride);
    for (int i = 0; i < FUNCTIONS; i++) {
        const function_t *f = &functions[i];
        const double clock = clock_ns(), ns = time_16(f);
        const result_t r = measure(f, stride, hash_only);
        printf("%-10s %6.3f ULP at %-24.17g of %-10llu hash %016llx %6.2f ns", f->name, r.error,
               (double)r.where, (unsigned long long)r.count, (unsigned long long)r.hash, ns);
        printf(clock > 0 ? " %5.1f clocks\n" : "\n", ns / clock);
        fflush(stdout);
        bad += !(r.error <= LARGEST_ERROR);
    }
    return bad != 0;
}
