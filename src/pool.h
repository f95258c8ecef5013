/* Threads: a team runs one program together and meets at barriers. No OpenMP.
 *
 * Workers are created at first use, wait by spinning briefly and then park; a team takes
 * idle workers or makes new ones, so several teams may run at once. After fork the child
 * starts with none. Workers block every signal and never touch Python.
 */
#ifndef CBACKPROP_POOL_H
#define CBACKPROP_POOL_H

typedef struct cb_team cb_team;
typedef void cb_program(void *argument, int thread, cb_team *team);

/* Runs program(argument, t, team) for t = 0 .. size-1; the caller is thread 0. Returns the
 * size, which is less than `threads` only where the system refuses to make a thread. */
int cb_run(cb_program *program, void *argument, int threads);

int cb_team_size(const cb_team *team);

/* All threads of the team arrive, then all go on; what was written before is seen after. */
void cb_barrier(cb_team *team);

/* Flush-to-zero for the calling thread, whose own traps and rounding wait: the same bits whatever
 * they are, and also in workers, which begin with those of the thread that made them. leave()
 * takes what enter() returned. */
unsigned cb_float_enter(void);
void cb_float_leave(unsigned saved);

/* Seconds of a steady clock. */
double cb_seconds(void);

#endif
