#if !defined(_WIN32) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE
#endif
#include "pool.h"
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>

#ifdef _WIN32
#include <windows.h>
#include <process.h>
typedef SRWLOCK lock_t;
typedef CONDITION_VARIABLE signal_t;
#define LOCK_INIT SRWLOCK_INIT
static void signal_init(signal_t *s) { InitializeConditionVariable(s); }
static void lock_init(lock_t *l) { InitializeSRWLock(l); }
static void lock(lock_t *l) { AcquireSRWLockExclusive(l); }
static void unlock(lock_t *l) { ReleaseSRWLockExclusive(l); }
static void wait_for(signal_t *s, lock_t *l) { SleepConditionVariableSRW(s, l, INFINITE, 0); }
static void wake(signal_t *s) { WakeAllConditionVariable(s); }
static void yield_cpu(void) { SwitchToThread(); }
static int cpu_count(void) { return (int)GetActiveProcessorCount(ALL_PROCESSOR_GROUPS); }
#else
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>
typedef pthread_mutex_t lock_t;
typedef pthread_cond_t signal_t;
#define LOCK_INIT PTHREAD_MUTEX_INITIALIZER
static void signal_init(signal_t *s) { pthread_cond_init(s, NULL); }
static void lock_init(lock_t *l) { pthread_mutex_init(l, NULL); }
static void lock(lock_t *l) { pthread_mutex_lock(l); }
static void unlock(lock_t *l) { pthread_mutex_unlock(l); }
static void wait_for(signal_t *s, lock_t *l) { pthread_cond_wait(s, l); }
static void wake(signal_t *s) { pthread_cond_broadcast(s); }
static void yield_cpu(void) { sched_yield(); }

static int cpu_count(void)
{
#ifdef __linux__
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        return CPU_COUNT(&set);
#endif
    return (int)sysconf(_SC_NPROCESSORS_ONLN);
}
#endif

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
static void pause_cpu(void) { _mm_pause(); }
unsigned cb_float_enter(void)
{
    const unsigned saved = _mm_getcsr();
    _mm_setcsr(0x9fc0); /* FTZ, DAZ, no traps, to nearest */
    return saved;
}
void cb_float_leave(unsigned saved) { _mm_setcsr(saved); }
#elif defined(__aarch64__)
static void pause_cpu(void) { __asm__ volatile("yield"); }
unsigned cb_float_enter(void)
{
    uint64_t saved;
    __asm__ volatile("mrs %0, fpcr" : "=r"(saved));
    __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)1 << 24)); /* FZ, no traps, to nearest */
    return (unsigned)saved;
}
void cb_float_leave(unsigned saved) { __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)saved)); }
#else
static void pause_cpu(void) {}
unsigned cb_float_enter(void) { return 0; }
void cb_float_leave(unsigned saved) { (void)saved; }
#endif

double cb_seconds(void)
{
#ifdef _WIN32
    LARGE_INTEGER now, rate;
    QueryPerformanceCounter(&now);
    QueryPerformanceFrequency(&rate);
    return (double)now.QuadPart / (double)rate.QuadPart;
#else
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
#endif
}

/* Pauses before giving up the CPU: 10 to 50 us, longer than any step's imbalance. Then a
 * few yields, then sleep. */
enum { SPINS = 1000, YIELDS = 32, MOST_WORKERS = 1024 };

struct cb_team {
    cb_program *program;
    void *argument;
    int size, spins;
    _Alignas(128) atomic_int arrived;
    _Alignas(128) atomic_uint generation;
    atomic_int sleepers;
    lock_t lock;
    signal_t opened;
};

/* A worker runs one team at a time: the caller hands it a team, the worker clears it. */
typedef struct worker {
    struct worker *next;
    int thread;
    _Atomic(cb_team *) team;
    atomic_int sleepers;
    lock_t lock;
    signal_t changed;
} worker;

static lock_t pool_lock = LOCK_INIT;
static worker *idle;
static int made;

int cb_team_size(const cb_team *team) { return team->size; }

void cb_barrier(cb_team *team)
{
    if (team->size == 1)
        return;
    const unsigned generation = atomic_load(&team->generation);
    if (atomic_fetch_add(&team->arrived, 1) == team->size - 1) {
        atomic_store(&team->arrived, 0);
        atomic_fetch_add(&team->generation, 1);
        if (atomic_load(&team->sleepers)) {
            lock(&team->lock);
            wake(&team->opened);
            unlock(&team->lock);
        }
        return;
    }
    for (int i = 0; i < team->spins + YIELDS; i++) {
        if (atomic_load_explicit(&team->generation, memory_order_acquire) != generation)
            return;
        if (i < team->spins)
            pause_cpu();
        else
            yield_cpu();
    }
    lock(&team->lock);
    atomic_fetch_add(&team->sleepers, 1);
    while (atomic_load(&team->generation) == generation)
        wait_for(&team->opened, &team->lock);
    atomic_fetch_sub(&team->sleepers, 1);
    unlock(&team->lock);
}

/* Until w->team is NULL (or is not): spin, then sleep. */
static void await_team(worker *w, int is_set, int spins)
{
    for (int i = 0; i < spins; i++) {
        if ((atomic_load_explicit(&w->team, memory_order_acquire) != NULL) == is_set)
            return;
        pause_cpu();
    }
    lock(&w->lock);
    atomic_fetch_add(&w->sleepers, 1);
    while ((atomic_load(&w->team) != NULL) != is_set)
        wait_for(&w->changed, &w->lock);
    atomic_fetch_sub(&w->sleepers, 1);
    unlock(&w->lock);
}

static void set_team(worker *w, cb_team *team)
{
    atomic_store(&w->team, team);
    if (atomic_load(&w->sleepers)) {
        lock(&w->lock);
        wake(&w->changed);
        unlock(&w->lock);
    }
}

static void work(worker *w)
{
    cb_float_enter();
    for (;;) {
        await_team(w, 1, SPINS);
        cb_team *team = atomic_load(&w->team);
        team->program(team->argument, w->thread, team);
        set_team(w, NULL); /* the team is the caller's again */
    }
}

#ifdef _WIN32
static unsigned __stdcall worker_main(void *w)
{
    work(w);
    return 0;
}
static int start(worker *w)
{
    const uintptr_t handle = _beginthreadex(NULL, 1 << 20, worker_main, w, 0, NULL);
    if (!handle)
        return 0;
    CloseHandle((HANDLE)handle);
    return 1;
}
#else
static void *worker_main(void *w)
{
    work(w);
    return NULL;
}

/* The child of a fork has no workers; the parent's stay the parent's. */
static void forget_workers(void)
{
    idle = NULL;
    made = 0;
    lock_init(&pool_lock);
}

static int start(worker *w)
{
    static int registered; /* guarded by pool_lock */
    if (!registered && pthread_atfork(NULL, NULL, forget_workers) != 0)
        return 0;
    registered = 1;
    sigset_t every, before;
    sigfillset(&every);
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) != 0)
        return 0;
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, 1 << 20);
    pthread_sigmask(SIG_SETMASK, &every, &before);
    pthread_t id;
    const int failed = pthread_create(&id, &attributes, worker_main, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return !failed;
}
#endif

static worker *new_worker(void)
{
    worker *w = made < MOST_WORKERS ? calloc(1, sizeof *w) : NULL;
    if (!w)
        return NULL;
    lock_init(&w->lock);
    signal_init(&w->changed);
    if (!start(w)) {
        free(w);
        return NULL;
    }
    made++;
    return w;
}

/* Up to `wanted` workers, linked; *got says how many. */
static worker *hire(int wanted, int *got)
{
    worker *hired = NULL;
    lock(&pool_lock);
    for (*got = 0; *got < wanted; ++*got) {
        worker *w = idle ? idle : new_worker();
        if (!w)
            break;
        if (w == idle)
            idle = w->next;
        w->next = hired;
        hired = w;
    }
    unlock(&pool_lock);
    return hired;
}

static void dismiss(worker *hired)
{
    lock(&pool_lock);
    while (hired) {
        worker *next = hired->next;
        hired->next = idle;
        idle = hired;
        hired = next;
    }
    unlock(&pool_lock);
}

int cb_run(cb_program *program, void *argument, int threads)
{
    cb_team team = {.program = program, .argument = argument};
    lock_init(&team.lock);
    signal_init(&team.opened);
    int got = 0;
    worker *hired = threads > 1 ? hire(threads - 1, &got) : NULL;
    team.size = got + 1;
    team.spins = team.size > 1 && team.size <= cpu_count() ? SPINS : 0;
    int thread = 1;
    for (worker *w = hired; w; w = w->next) {
        w->thread = thread++;
        set_team(w, &team);
    }
    program(argument, 0, &team);
    for (worker *w = hired; w; w = w->next)
        await_team(w, 0, team.spins);
    dismiss(hired);
    return team.size;
}
