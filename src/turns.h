/* What threads tell each other: a count that they wait for, each for its own number, so that work is
 * done in order by many; and a flag that says stop.
 */
#ifndef CBACKPROP_TURNS_H
#define CBACKPROP_TURNS_H

#include <stdint.h>
#if !defined(_WIN32)
#include <sched.h>
#endif

static inline void cb_wait_for_turn(const int64_t *turn, int64_t mine)
{
    for (int spins = 0; __atomic_load_n(turn, __ATOMIC_ACQUIRE) != mine; spins++) {
#if defined(__x86_64__) || defined(__i386__)
        __builtin_ia32_pause();
#endif
#if !defined(_WIN32)
        if (spins > 500) /* some 25 us: the other may be waiting for this core */
            sched_yield();
#endif
    }
}

static inline void cb_end_turn(int64_t *turn, int64_t next)
{
    __atomic_store_n(turn, next, __ATOMIC_RELEASE);
}

/* A flag that any thread may raise and that many look at; nothing else depends on when. */
static inline void cb_raise_flag(int *flag) { __atomic_store_n(flag, 1, __ATOMIC_RELAXED); }

static inline int cb_is_raised(const int *flag) { return __atomic_load_n(flag, __ATOMIC_RELAXED); }

#endif
