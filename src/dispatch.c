/* The only file that knows CPUs: picks one pair of kernel tables, single and double. */
#include "kernels.h"
#include <string.h>

#define DECLARE(name) extern const cb_kernels cb_kernels_##name##_f32, cb_kernels_##name##_f64;
#define ROW(name, runs_here) {#name, &cb_kernels_##name##_f32, &cb_kernels_##name##_f64, runs_here}

static int always(void) { return 1; }

#if defined(__x86_64__) || defined(_M_X64)
#include <cpuid.h>
#include <immintrin.h>

/* The registers that the operating system saves: bits of XCR0. */
__attribute__((target("xsave"))) static unsigned saved_state(void)
{
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE))
        return 0;
    return (unsigned)_xgetbv(0);
}

static int leaf_one_has(unsigned wanted) /* that it is there, saved_state() has seen */
{
    unsigned a, b, c = 0, d;
    __get_cpuid(1, &a, &b, &c, &d);
    return (c & wanted) == wanted;
}

static int leaf_seven_has(unsigned wanted)
{
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & wanted) == wanted;
}

static int has_avx2(void)
{
    return (saved_state() & 0x6) == 0x6 && leaf_one_has(bit_FMA | bit_AVX) &&
           leaf_seven_has(bit_AVX2);
}

static int has_avx512(void)
{
    return has_avx2() && (saved_state() & 0xe6) == 0xe6 &&
           leaf_seven_has(bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL);
}

static int has_bf16(void)
{
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & 1u << 5);
}

extern const cb_bf16_kernels cb_kernels_avx512bf16_f32;
DECLARE(avx512)
DECLARE(avx2)
#elif defined(__aarch64__) || defined(_M_ARM64)
DECLARE(neon)
#endif
DECLARE(portable)

/* Widest first. */
static const struct row {
    const char *name;
    const cb_kernels *single, *precise;
    int (*runs_here)(void);
} table[] = {
#if defined(__x86_64__) || defined(_M_X64)
    ROW(avx512, has_avx512),
    ROW(avx2, has_avx2),
#elif defined(__aarch64__) || defined(_M_ARM64)
    ROW(neon, always),
#endif
    ROW(portable, always),
};

static const char *const known[] = {"portable", "avx2", "avx512", "neon"};
static const struct row *chosen;

static const struct row *find(const char *name)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if ((!name || strcmp(table[i].name, name) == 0) && table[i].runs_here())
            return &table[i];
    return NULL;
}

int cb_kernels_choose(const char *name)
{
    const struct row *r = find(name);
    if (r) {
        chosen = r;
        return 0;
    }
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(known[i], name) == 0)
            return -2;
    return -1;
}

const cb_kernels *cb_kernels_in_use(int bits)
{
    if (!chosen)
        chosen = find(NULL); /* there is always one */
    return bits == 32 ? chosen->single : chosen->precise;
}

const cb_kernels *cb_kernels_named(const char *name, int bits)
{
    const struct row *r = find(name);
    return !r ? NULL : bits == 32 ? r->single : r->precise;
}

const cb_bf16_kernels *cb_bf16_kernels_of(const cb_kernels *t)
{
#if defined(__x86_64__) || defined(_M_X64)
    if (t == &cb_kernels_avx512_f32 && has_bf16()) /* a table in use runs here */
        return &cb_kernels_avx512bf16_f32;
#endif
    (void)t;
    return NULL;
}
