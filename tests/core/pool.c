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

static int refuses_second_thread(void) { return refuses("thread") && asked++ > 0; }

#define sched_getaffinity(...) (refuses("affinity") ? -1 : sched_getaffinity(__VA_ARGS__))
#define pthread_atfork(...) (refuses("atfork") ? -1 : pthread_atfork(__VA_ARGS__))
#define pthread_attr_init(...) (refuses("attributes") ? -1 : pthread_attr_init(__VA_ARGS__))
#define pthread_create(...) (refuses_second_thread() ? -1 : pthread_create(__VA_ARGS__))
#define calloc(...) (refuses("memory") ? NULL : calloc(__VA_ARGS__))

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
