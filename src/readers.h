/* Who uses a network: any number of readers, or one that changes it. The count stands in
 * the engine: -1 where one has it alone, else the number of readers. Nobody waits: who
 * cannot enter is told so.
 */
#ifndef CBACKPROP_READERS_H
#define CBACKPROP_READERS_H

static inline int cb_enter_shared(int *count)
{
    int n = __atomic_load_n(count, __ATOMIC_RELAXED);
    while (n >= 0)
        if (__atomic_compare_exchange_n(count, &n, n + 1, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
            return 1;
    return 0;
}

static inline void cb_leave_shared(int *count) { __atomic_fetch_sub(count, 1, __ATOMIC_RELEASE); }

static inline int cb_enter_alone(int *count)
{
    int nobody = 0;
    return __atomic_compare_exchange_n(count, &nobody, -1, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

static inline void cb_leave_alone(int *count) { __atomic_store_n(count, 0, __ATOMIC_RELEASE); }

static inline int cb_is_alone(const int *count)
{
    return __atomic_load_n(count, __ATOMIC_RELAXED) < 0;
}

#endif
