/* What chance does to a sample. Inverted dropout (Srivastava et al. 2014): a neuron is dropped with probability p, the others
 * grow by 1 / (1 - p), so that predictions need nothing. p is a multiple of 1/65536.
 */
#include "rng.h"

/* The mask of sample s of the mini-batch, whole panels. */
static void draw_mask(const cb_layer *l, cb_index s, real *mask)
{
    const cb_dropout *d = l->dropout;
    const cb_random r = {d->key, CB_FOR_DROPOUT, d->epoch};
    const real keep = (real)(65536.0 / (65536.0 - l->drop));
    uint64_t draw = (d->position + (uint64_t)s) * d->draws + (uint64_t)l->first_draw;
    for (cb_index j = 0; j < l->n_out; j += CB_DROPS, draw++) {
        uint32_t word[4];
        cb_philox(r, draw, word);
        for (int i = 0; i < CB_DROPS; i++) {
            const uint32_t bits = word[i / 2] >> 16 * (i % 2) & 0xFFFF;
            mask[j + i] = bits < l->drop ? 0 : keep;
        }
    }
}

/* to = mask a, for whole panels; a[n_out] and what lies beyond are the caller's. */
static void drop_row(const cb_layer *l, cb_index s, const real *a, real *to)
{
    real *mask = (real *)l->mask + s * l->ld_out;
    draw_mask(l, s, mask);
    for (cb_index j = 0; j < l->n_out; j += LANES)
        v_store(to + j, v_load(a + j) * v_load(mask + j));
    to[l->n_out] = 1;
}

/* a += noise N(0, 1): two inputs from one draw. */
static void add_noise(const cb_layer *l, const cb_dropout *d, cb_index row, cb_index rows)
{
    const cb_random r = {d->key, CB_FOR_NOISE, d->epoch};
    const uint64_t pairs = (uint64_t)(l->n_out + 1) / 2;
    for (cb_index s = row; s < row + rows; s++) {
        real *a = (real *)l->a + s * l->ld_out;
        uint64_t draw = (d->position + (uint64_t)s) * pairs;
        for (cb_index k = 0; k < l->n_out; k += 2, draw++) {
            double pair[2];
            cb_normal_pair(r, draw, pair);
            a[k] += (real)(d->noise * pair[0]);
            if (k + 1 < l->n_out)
                a[k + 1] += (real)(d->noise * pair[1]);
        }
    }
}

static void drop_inputs(const cb_layer *l, cb_index row, cb_index rows)
{
    for (cb_index s = row; s < row + rows; s++) {
        real *a = (real *)l->a + s * l->ld_out;
        drop_row(l, s, a, a);
    }
}

/* delta = mask delta over a tile */
static void drop_errors(const cb_layer *l, cb_index at, cb_index rows, cb_index vectors)
{
    const real *mask = (const real *)l->mask + at;
    real *delta = (real *)l->delta + at;
    for (cb_index s = 0; s < rows; s++)
        for (cb_index j = 0; j < vectors * LANES; j += LANES) {
            const cb_index i = s * l->ld_out + j;
            v_store(delta + i, v_load(delta + i) * v_load(mask + i));
        }
}
