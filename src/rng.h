/* Counter-based random numbers: a pure function of (key, purpose, index), so results do
 * not depend on threads or on what was drawn before. Philox4x32-10: Salmon, Moraes, Dror,
 * Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC'11. Plain + - * / only: the same
 * bits on every machine.
 */
#ifndef CBACKPROP_RNG_H
#define CBACKPROP_RNG_H

#include <stdint.h>

/* Streams of one network: weights of layer l, the shuffle, the dropout and the noise of epoch e. */
enum cb_purpose { CB_FOR_WEIGHTS = 1, CB_FOR_SHUFFLE = 2, CB_FOR_DROPOUT = 3, CB_FOR_NOISE = 4 };

typedef struct cb_random {
    uint64_t key;
    uint32_t purpose, stream; /* stream: layer or epoch */
} cb_random;

/* Four words of the counter (index, stream, purpose) under the key. */
void cb_philox(cb_random r, uint64_t index, uint32_t word[4]);

/* A permutation of 0 .. n-1 (Fisher-Yates); index holds it on return. */
void cb_shuffle(cb_random r, int64_t *index, int64_t n);

/* Two samples of N(0, 1), a function of index < 2^40 (Marsaglia's polar method). */
void cb_normal_pair(cb_random r, uint64_t index, double pair[2]);

/* n samples of N(0, 1), element i a function of i alone: the first of its pair. */
void cb_normal(cb_random r, double *out, int64_t n);

/* n samples uniform in (0, 1) */
void cb_uniform(cb_random r, double *out, int64_t n);

#endif
