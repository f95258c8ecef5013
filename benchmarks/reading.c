/* How fast a core reads the panels of a layer again and again, as one row's predict does: built
 * and called by reading.py; x86-64 only. */
#define _GNU_SOURCE
#include <string.h>
#include <time.h>

enum { PANEL = 16, STREAMS = 8 };
typedef float vec __attribute__((vector_size(PANEL * sizeof(float)), aligned(64)));

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Clocks a nanosecond: adds that wait for each other, one a clock. */
double clocks(void)
{
    const long n = 1000000;
    long k = n, x = 0;
    const double start = now();
    __asm__ volatile("1: add $1, %1\ndec %0\njnz 1b" : "+r"(k), "+r"(x) : : "cc");
    return (double)n * 1e-9 / (now() - start);
}

/* sums[v] += x w[v][k] from eight panels side by side, the lines `ahead` rows on asked for. */
static void side_by_side(const vec *w, long rows, long ahead, vec sums[STREAMS])
{
    const vec *line = w;
    vec sum[STREAMS];
    memset(sum, 0, sizeof sum);
    for (long k = 0; k < rows; k++, line++)
#pragma GCC unroll 8
        for (int v = 0; v < STREAMS; v++) {
            if (ahead)
                __builtin_prefetch(line + v * rows + ahead);
            sum[v] += line[v * rows];
        }
    memcpy(sums, sum, sizeof sum);
}

/* The same bytes in the order of their addresses. */
static void in_a_row(const vec *w, long rows, vec sums[STREAMS])
{
    vec sum[STREAMS];
    memset(sum, 0, sizeof sum);
    for (long k = 0; k < rows; k++)
#pragma GCC unroll 8
        for (int v = 0; v < STREAMS; v++)
            sum[v] += w[k * STREAMS + v];
    memcpy(sums, sum, sizeof sum);
}

/* Seconds to read eight panels of so many rows, the least of many; ahead < 0: in a row. */
double reading(const void *panels, long rows, long ahead)
{
    vec sums[STREAMS];
    double least = 1;
    for (int sample = 0; sample < 400; sample++) {
        const double start = now();
        for (int i = 0; i < 50; i++) {
            if (ahead < 0)
                in_a_row(panels, rows, sums);
            else
                side_by_side(panels, rows, ahead, sums);
            __asm__ volatile("" : : "r"(sums) : "memory");
        }
        const double took = (now() - start) / 50;
        least = took < least ? took : least;
    }
    return least;
}
