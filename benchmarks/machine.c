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

/* What other code left in the registers slowed the loop by up to 40 % (subnormal numbers
 * would): start from zeros. */
#define ZERO_Z(r) "vpxord %%zmm" #r ",%%zmm" #r ",%%zmm" #r "\n"
#define ZERO_Y(r) "vxorps %%ymm" #r ",%%ymm" #r ",%%ymm" #r "\n"
#define EACH_OF_12(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)
#define EACH_OF_16(X) EACH_OF_12(X) X(12) X(13) X(14) X(15)

/* Gflop/s of this thread; wide: AVX-512, else AVX2. */
double fma_rate(int wide)
{
    const long n = 1000000;
    long k = n;
    const double start = now();
    if (wide)
        __asm__ volatile(ZERO_Z(30) ZERO_Z(31) EACH_OF_16(ZERO_Z) "1:\n" EACH_OF_16(Z)
                         "dec %0\njnz 1b\nvzeroupper"
                         : "+r"(k)
                         :
                         : LOW_REGISTERS);
    else
        __asm__ volatile(EACH_OF_16(ZERO_Y) "1:\n" EACH_OF_12(Y) "dec %0\njnz 1b\nvzeroupper"
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
