/* src/dispatch.c on every x86-64 CPU and system there may be: what cpuid and xgetbv would say is
 * read from the command line, four hexadecimal numbers a CPU:
 *
 *     XCR0  leaf 1 ecx  leaf 7.0 ebx  leaf 7.1 eax      ("-": that leaf is not there)
 *
 * Prints the table chosen, and which names can be chosen, for each.
 */
#include <cpuid.h>
#include <immintrin.h>
#include <stdio.h>
#include <stdlib.h>

static unsigned xcr0, answer[3];
static int there[3];

/* Leaf 1, 7 and 7.1 are asked for ecx, ebx and eax; all four registers say the same here. */
static int said(int leaf, unsigned *a, unsigned *b, unsigned *c, unsigned *d)
{
    *a = *b = *c = *d = answer[leaf];
    return there[leaf];
}

#define __get_cpuid(leaf, ...) said(0, __VA_ARGS__)
#define __get_cpuid_count(leaf, part, ...) said(1 + (part), __VA_ARGS__)
#define _xgetbv(which) (xcr0)

#include "src/dispatch.c"

#define TABLES(table)                                             \
    const cb_kernels cb_kernels_##table##_f32 = {.name = #table}, \
                     cb_kernels_##table##_f64 = {.name = #table};
TABLES(avx512)
TABLES(avx2)
TABLES(portable)
const cb_bf16_kernels cb_kernels_avx512bf16_f32;

int main(int count, char **words)
{
    for (int i = 1; i + 3 < count; i += 4) {
        xcr0 = (unsigned)strtoul(words[i], NULL, 16);
        for (int leaf = 0; leaf < 3; leaf++) {
            there[leaf] = words[i + 1 + leaf][0] != '-';
            answer[leaf] = there[leaf] ? (unsigned)strtoul(words[i + 1 + leaf], NULL, 16) : 0;
        }
        chosen = NULL; /* as when the module is imported */
        printf("%s", cb_kernels_in_use(64)->name);
        printf(" %d", cb_bf16_kernels_of(cb_kernels_in_use(32)) != NULL);
        printf(" %d", cb_bf16_kernels_of(cb_kernels_in_use(64)) != NULL);
        const char *const names[] = {"avx512", "avx2", "portable", "neon", "sse"};
        for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
            const cb_kernels *t = cb_kernels_named(names[k], 32);
            const int seen = t != NULL && t != cb_kernels_named(names[k], 64);
            printf(" %d%d", cb_kernels_choose(names[k]), seen);
        }
        printf("\n");
    }
    return 0;
}
