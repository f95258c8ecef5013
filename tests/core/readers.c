/* src/readers.h with threads that come and go at once, so that one finds the count changed between
 * reading it and adding to it. Prints how often both sides entered, whether a reader ever met
 * somebody alone, and what the count is at the end.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>

#include "src/readers.h"

enum { THREADS = 4, TIMES = 2000000 };

static int count, alone, met, entered[2];
static pthread_barrier_t begin;

static void *come_and_go(void *unused)
{
    int shared = 0, by_itself = 0;
    pthread_barrier_wait(&begin);
    for (int i = 0; i < TIMES; i++) {
        if (cb_enter_shared(&count)) {
            if (__atomic_load_n(&alone, __ATOMIC_RELAXED) || cb_is_alone(&count))
                __atomic_store_n(&met, 1, __ATOMIC_RELAXED);
            cb_leave_shared(&count);
            shared++;
        }
        if (i % 8 == 0 && cb_enter_alone(&count)) {
            __atomic_store_n(&alone, 1, __ATOMIC_RELAXED);
            __atomic_store_n(&alone, 0, __ATOMIC_RELAXED);
            cb_leave_alone(&count);
            by_itself++;
        }
    }
    __atomic_fetch_add(&entered[0], shared, __ATOMIC_RELAXED);
    __atomic_fetch_add(&entered[1], by_itself, __ATOMIC_RELAXED);
    return unused;
}

int main(void)
{
    pthread_t thread[THREADS];
    pthread_barrier_init(&begin, NULL, THREADS);
    for (int t = 0; t < THREADS; t++)
        pthread_create(&thread[t], NULL, come_and_go, NULL);
    for (int t = 0; t < THREADS; t++)
        pthread_join(thread[t], NULL);
    printf("%d %d %d %d\n", entered[0] > 0, entered[1] > 0, met, count);
    return 0;
}
