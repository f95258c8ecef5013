/* src/pool.c where the system refuses something. One word names it; for 4 threads, then 2,000,
 * prints how many came and whether each ran once.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *refused;
static int asked;

static int refuses(const char *what) { return strcmp(refused, what) == 0; }

static int get_affinity(pid_t process, size_t size, cpu_set_t *set)
{
    return refuses("affinity") ? -1 : sched_getaffinity(process, size, set);
}

static int at_fork(void (*before)(void), void (*parent)(void), void (*child)(void))
{
    return refuses("atfork") ? -1 : pthread_atfork(before, parent, child);
}

static int attributes_begin(pthread_attr_t *a)
{
    return refuses("attributes") ? -1 : pthread_attr_init(a);
}

static int second_thread(pthread_t *id, const pthread_attr_t *a, void *(*run)(void *), void *with)
{
    return refuses("thread") && asked++ > 0 ? -1 : pthread_create(id, a, run, with);
}

static void *get_memory(size_t n, size_t size)
{
    return refuses("memory") ? NULL : calloc(n, size);
}

#define sched_getaffinity get_affinity
#define pthread_atfork at_fork
#define pthread_attr_init attributes_begin
#define pthread_create second_thread
#define calloc get_memory

#include "src/pool.c"

static int runs[3000];

static void program(void *argument, int thread, cb_team *team)
{
    (void)argument;
    (void)team;
    runs[thread]++;
}

int main(int count, char **words)
{
    refused = count > 1 ? words[1] : "nothing";
    const int wanted[] = {4, 2000};
    for (int i = 0; i < 2; i++) {
        memset(runs, 0, sizeof runs);
        const int got = cb_run(program, NULL, wanted[i]);
        int right = 1;
        for (int t = 0; t < 3000; t++)
            right &= runs[t] == (t < got);
        printf("%d %d\n", got, right);
    }
    return 0;
}
