/* What the machine can do at the moment: fused multiply-adds in registers, and how far apart
 * two threads are. Built and called by machine.py; x86-64 only. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

#define Z(r) "vfmadd231ps %%zmm30,%%zmm31,%%zmm" #r "\n"
#define Y(r) "vfmadd231ps %%ymm14,%%ymm15,%%ymm" #r "\n"
#define LOW_REGISTERS                                                                           \
    "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",     \
        "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15"

/* Gflop/s of this thread; wide: AVX-512, else AVX2. */
double fma_rate(int wide)
{
    const long n = 1000000;
    long k = n;
    const double start = now();
    if (wide)
        __asm__ volatile("1:\n" Z(0) Z(1) Z(2) Z(3) Z(4) Z(5) Z(6) Z(7) Z(8) Z(9) Z(10) Z(11)
                             Z(12) Z(13) Z(14) Z(15) "dec %0\njnz 1b"
                         : "+r"(k)
                         :
                         : LOW_REGISTERS);
    else
        __asm__ volatile("1:\n" Y(0) Y(1) Y(2) Y(3) Y(4) Y(5) Y(6) Y(7) Y(8) Y(9) Y(10) Y(11)
                         "dec %0\njnz 1b"
                         : "+r"(k)
                         :
                         : LOW_REGISTERS);
    return (wide ? 16 * 32.0 : 12 * 16.0) * (double)n / (now() - start) / 1e9;
}

static void *rate_thread(void *argument)
{
    double *wide_and_rate = argument;
    wide_and_rate[1] = fma_rate((int)wide_and_rate[0]);
    return 0;
}

/* Two threads at once: the sum. */
double fma_rate_of_two(int wide)
{
    double other[2] = {wide, 0};
    pthread_t id;
    if (pthread_create(&id, 0, rate_thread, other))
        return 0;
    const double mine = fma_rate(wide);
    pthread_join(id, 0);
    return mine + other[1];
}

enum { TURNS = 20000 };
static _Alignas(128) atomic_int ball;

static void *answer(void *unused)
{
    (void)unused;
    for (int i = 0; i < TURNS; i++) {
        while (atomic_load_explicit(&ball, memory_order_acquire) != 2 * i + 1)
            __builtin_ia32_pause();
        atomic_store_explicit(&ball, 2 * i + 2, memory_order_release);
    }
    return 0;
}

/* Nanoseconds for a cache line from one thread to the other. */
double latency(void)
{
    pthread_t id;
    atomic_store(&ball, 0);
    if (pthread_create(&id, 0, answer, 0))
        return 0;
    const double start = now();
    for (int i = 0; i < TURNS; i++) {
        atomic_store_explicit(&ball, 2 * i + 1, memory_order_release);
        while (atomic_load_explicit(&ball, memory_order_acquire) != 2 * i + 2)
            __builtin_ia32_pause();
    }
    const double end = now();
    pthread_join(id, 0);
    return (end - start) / (2 * TURNS) * 1e9;
}
