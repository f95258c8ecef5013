/* One layer's equations through one kernel table, in the order of the Cython modules, on one
 * thread. Built by tiles.py with the table's kernel file; -DTABLE= names the table. */
#define _GNU_SOURCE
#include "kernels.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

extern const cb_kernels TABLE;
static const cb_kernels *const kernels = &TABLE;
#ifdef BF16
extern const cb_bf16_kernels BF16;
static const cb_bf16_kernels *const rounded = &BF16;
#endif

enum { FORWARD, BP2, BP4 };
enum { PAGE = 2 << 20, MOST_ARRAYS = 12 };

typedef struct layers {
    cb_layer below, layer;
    cb_index m, at_once; /* rows of BP4's tiles laid out together */
    float *scratch;
    void *arrays[MOST_ARRAYS];
    int n_arrays;
} layers;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static cb_index least(cb_index a, cb_index b) { return a < b ? a : b; }
static cb_index parts_of(cb_index n, cb_index most) { return (n + most - 1) / most; }
static cb_index part(cb_index n, cb_index parts, cb_index i) { return n * i / parts; }
static cb_index row_stride(cb_index n) { return (parts_of(n + 1, CB_PANEL) | 1) * CB_PANEL; }

/* Numbers of about `size`, of either sign, on large pages like NumPy's; NULL: no memory. */
static float *numbers(layers *s, cb_index n, float size)
{
    const size_t bytes = (size_t)parts_of(n * 4, PAGE) * PAGE;
    float *x = aligned_alloc(PAGE, bytes);
    s->arrays[s->n_arrays++] = x;
    if (!x)
        return NULL;
    madvise(x, bytes, MADV_HUGEPAGE);
    uint32_t state = 1;
    for (cb_index i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        x[i] = size * ((float)(state >> 8) / (1 << 23) - 1);
    }
    return x;
}

/* 0: done, -1: no memory. */
static int build(layers *s, cb_index m, cb_index n_in, cb_index n_out)
{
    const cb_index in = row_stride(n_in), out = row_stride(n_out);
    const cb_index panels = parts_of(n_out, CB_PANEL) * CB_PANEL;
    cb_layer *l = &s->layer;
    s->m = m;
    *l = (cb_layer){.n_in = n_in, .n_out = n_out, .ld_in = in, .ld_out = out, .m = m};
    l->activation = CB_RELU;
    l->w = numbers(s, panels * (n_in + 1), 0.1f);
    l->a_in = numbers(s, m * in, 1);
    l->z = l->a = numbers(s, m * out, 1);
    l->delta = numbers(s, m * out, 1e-3f);
    s->below = (cb_layer){.n_out = n_in, .ld_out = in, .activation = CB_RELU, .m = m};
    s->below.z = s->below.a = (void *)l->a_in;
    s->below.delta = numbers(s, m * in, 1e-3f);
    /* As is_blocked() and inputs_at_once() in _kernels.pxd. */
    s->at_once = 0;
    cb_index room = panels * kernels->tile_cols;
    if (m * in * kernels->itemsize > 700000 && n_out >= 4 * kernels->tile_cols) {
        const cb_index size = kernels->tile_rows * m;
        s->at_once = 400000 / (size * kernels->itemsize);
        s->at_once = s->at_once < 1 ? 1 : s->at_once;
        room = room > s->at_once * size + CB_PANEL ? room : s->at_once * size + CB_PANEL;
        l->delta_block = numbers(s, m * (panels + kernels->tile_cols), 0);
    }
#ifdef BF16 /* as in _bf16.pyx */
    const cb_index size = kernels->tile_rows * cb_bf16_stride(m),
                   widest = n_in > n_out ? n_in : n_out;
    s->at_once = 100000 / size < 1 ? 1 : 100000 / size;
    room = (widest + 1) * kernels->tile_cols / 2;
    room = room > s->at_once * size ? room : s->at_once * size;
    l->a_bf16 = numbers(s, m * in / 2 + CB_PANEL, 0);
    l->delta_bf16 = numbers(s, m * out / 2, 0);
    l->delta_pairs = numbers(s, (m + 1) / 2 * (panels + CB_PANEL), 0);
    rounded->round_inputs(l, 0, m);
    for (cb_index col = 0; col < n_out; col += kernels->tile_cols)
        rounded->round_errors(l, 0, m, col, least(kernels->tile_cols, n_out - col));
#endif
    s->scratch = numbers(s, room, 0);
    for (int i = 0; i < s->n_arrays; i++)
        if (!s->arrays[i])
            return -1;
    return 0;
}

#ifndef BF16
static void forward(const layers *s)
{
    const cb_index n = s->layer.n_out, tiles = parts_of(s->m, kernels->tile_rows);
    for (cb_index col = 0; col < n; col += kernels->tile_cols)
        for (cb_index i = 0; i < tiles; i++) {
            const cb_index row = part(s->m, tiles, i);
            kernels->weighted_input(&s->layer, row, part(s->m, tiles, i + 1) - row, col,
                                    least(kernels->tile_cols, n - col));
        }
}

static void propagate(const layers *s)
{
    const cb_index n = s->layer.n_in, tiles = parts_of(s->m, kernels->tile_rows);
    for (cb_index col = 0; col < n; col += kernels->tile_cols) {
        const cb_index cols = least(kernels->tile_cols, n - col);
        kernels->transpose(&s->layer, col, cols, s->scratch);
        for (cb_index i = 0; i < tiles; i++) {
            const cb_index row = part(s->m, tiles, i);
            kernels->propagate(&s->below, &s->layer, s->scratch, row,
                               part(s->m, tiles, i + 1) - row, col, cols);
        }
    }
}

/* With the copies that a large mini-batch makes for it. */
static void gradients(const layers *s)
{
    const cb_update update = {.rule = CB_SGD, .rate = 1e-6, .decay = 1};
    const cb_index n = s->layer.n_out;
    const cb_index tiles = parts_of(s->layer.n_in + 1, kernels->tile_rows);
    const cb_index at_once = s->at_once ? s->at_once : tiles;
    for (cb_index col = 0; s->at_once && col < n; col += kernels->tile_cols)
        kernels->block_errors(&s->layer, 0, s->m, col, least(kernels->tile_cols, n - col));
    for (cb_index begin = 0; begin < tiles; begin += at_once) {
        const cb_index end = least(tiles, begin + at_once);
        const cb_index row = part(s->layer.n_in + 1, tiles, begin);
        const cb_index rows = part(s->layer.n_in + 1, tiles, end) - row;
        if (s->at_once)
            kernels->block_inputs(&s->layer, s->m, row, rows, end - begin, s->scratch);
        for (cb_index col = 0; col < n; col += kernels->tile_cols)
            kernels->gradient(&s->layer, s->m, s->at_once ? s->scratch : NULL, row, rows,
                              end - begin, col, least(kernels->tile_cols, n - col), &update, NULL);
    }
}
#else
/* As in _bf16.pyx, with what is rounded on the way. */
static void forward(const layers *s)
{
    const cb_index n = s->layer.n_out, tiles = parts_of(s->m, kernels->tile_rows);
    rounded->round_inputs(&s->layer, 0, s->m);
    for (cb_index col = 0; col < n; col += kernels->tile_cols) {
        const cb_index cols = least(kernels->tile_cols, n - col);
        rounded->round_weights(&s->layer, col, cols, s->scratch);
        for (cb_index i = 0; i < tiles; i++) {
            const cb_index row = part(s->m, tiles, i);
            rounded->weighted_input(&s->layer, s->scratch, row, part(s->m, tiles, i + 1) - row, col,
                                    cols);
        }
    }
}

static void propagate(const layers *s)
{
    const cb_index n = s->layer.n_in, tiles = parts_of(s->m, kernels->tile_rows);
    for (cb_index col = 0; col < n; col += kernels->tile_cols) {
        const cb_index cols = least(kernels->tile_cols, n - col);
        rounded->transpose(&s->layer, col, cols, s->scratch);
        for (cb_index i = 0; i < tiles; i++) {
            const cb_index row = part(s->m, tiles, i);
            rounded->propagate(&s->below, &s->layer, s->scratch, row,
                               part(s->m, tiles, i + 1) - row, col, cols);
        }
    }
}

static void gradients(const layers *s)
{
    const cb_update update = {.rule = CB_SGD, .rate = 1e-6, .decay = 1, .bias_decay = 1};
    const cb_index n = s->layer.n_out;
    const cb_index tiles = parts_of(s->layer.n_in + 1, kernels->tile_rows);
    for (cb_index col = 0; col < n; col += kernels->tile_cols)
        rounded->round_errors(&s->layer, 0, s->m, col, least(kernels->tile_cols, n - col));
    for (cb_index begin = 0; begin < tiles; begin += s->at_once) {
        const cb_index end = least(tiles, begin + s->at_once);
        const cb_index row = part(s->layer.n_in + 1, tiles, begin);
        const cb_index rows = part(s->layer.n_in + 1, tiles, end) - row;
        rounded->block_inputs(&s->layer, s->m, row, rows, end - begin, s->scratch);
        for (cb_index col = 0; col < n; col += kernels->tile_cols)
            rounded->gradient(&s->layer, s->m, s->scratch, row, rows, end - begin, col,
                              least(kernels->tile_cols, n - col), &update, NULL);
    }
}
#endif

/* The least seconds of one pass, of as many as fit into `seconds`; -1: no memory. */
__attribute__((visibility("default"))) double tiles_time(int equation, cb_index m, cb_index n_in,
                                                         cb_index n_out, double seconds)
{
    void (*const passes[])(const layers *) = {forward, propagate, gradients};
    layers s = {.n_arrays = 0};
    double best = -1;
    if (build(&s, m, n_in, n_out) == 0) {
        /* so many at a time that the clock costs nothing */
        const int repeats = (int)(1 + 10000000 / (2 * m * n_in * n_out));
        passes[equation](&s);
        for (const double end = now() + seconds; best < 0 || now() < end;) {
            const double start = now();
            for (int i = 0; i < repeats; i++)
                passes[equation](&s);
            const double each = (now() - start) / repeats;
            best = best < 0 || each < best ? each : best;
        }
    }
    for (int i = 0; i < s.n_arrays; i++)
        free(s.arrays[i]);
    return best;
}
