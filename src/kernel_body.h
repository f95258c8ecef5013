/* The one numeric source. A file kernels_<table>_<precision>.c chooses width and dtype and
 * includes this; out of it falls one cb_kernels table. kernels.h says what each computes.
 */
#include "vector.h"
#include "vecmath.h"
#include "specialmath.h"
#include "tiles.h"
#include "half_tiles.h"
#include "transpose.h"
#include "few_rows.h"
#include "activations.h"
#include "gather.h"
#include "costs.h"
#include "scores.h"
#include "dropout.h"
#include "updates.h"
#include "gradients.h"
#include "norms.h"

static void weighted_input(const cb_layer *l, cb_index row, cb_index rows, cb_index col,
                           cb_index cols)
{
    const cb_index K = l->n_in, stride = (K + 1) * CB_PANEL;
    const real *w = (const real *)l->w + col / CB_PANEL * stride;
    const real *a_in = (const real *)l->a_in + row * l->ld_in;
    real *z = (real *)l->z + row * l->ld_out + col;
    const cb_index vectors = vectors_in(cols);
    if (rows <= CB_FEW_ROWS) {
        weighted_few(K, a_in, l->ld_in, w, stride, rows, vectors, z, l->ld_out);
        activate_tile(l, z, (real *)l->a + row * l->ld_out + col, rows, vectors);
        return;
    }
    const int apart = half_apart(cols);
    for (cb_index v = 0; v < vectors; v += apart ? 1 : 2) { /* z = b + a_in w^T */
        const int two = !apart && v + 1 < vectors;
        const real *b0 = PANEL_COLUMN(w, v * LANES, stride);
        const real *b1 = two ? PANEL_COLUMN(w, (v + 1) * LANES, stride) : b0;
#if defined(HALF_LANES)
        if (cols - v * LANES <= HALF_LANES) {
            half_rows_tiles[rows - 1](K, a_in, l->ld_in, b0, z + v * LANES, l->ld_out);
            continue;
        }
#endif
        rows_tiles[two][rows - 1](K, a_in, l->ld_in, b0, b1, b0 + K * CB_PANEL, b1 + K * CB_PANEL,
                                  z + v * LANES, l->ld_out);
    }
    activate_tile(l, z, (real *)l->a + row * l->ld_out + col, rows, vectors);
}

static void complete_rows(const cb_layer *l, cb_index row, cb_index rows)
{
    if (l->activation == CB_OWN_ACTIVATION) {
        const cb_index at = row * l->ld_out;
        l->own->activate(l->own->context, (const real *)l->z + at, (real *)l->a + at, rows,
                         l->n_out, l->ld_out);
    }
    for (cb_index s = row; l->activation == CB_SOFTMAX && s < row + rows; s++)
        softmax_row((const real *)l->z + s * l->ld_out, (real *)l->a + s * l->ld_out, l->n_out);
    real *a = (real *)l->a + row * l->ld_out + l->n_out;
    for (cb_index s = 0; s < rows; s++)
        a[s * l->ld_out] = 1;
    for (cb_index s = row; l->dropout && s < row + rows; s++)
        drop_row(l, s, (real *)l->a + s * l->ld_out, (real *)l->dropped + s * l->ld_out);
}

static void cost_value(const cb_cost_function *cost, const cb_layer *l, const void *y, cb_index row,
                       cb_index rows, double *values)
{
    if (cost->code == CB_OWN_COST) {
        const cb_index at = row * l->ld_out;
        cost->own->value(cost->own->context, (const real *)l->a + at, (const real *)y + at,
                         values + row, rows, l->n_out, l->ld_out);
        return;
    }
    const cb_index n = l->n_out, ld = l->ld_out;
    const real *a = (const real *)l->a, *t = (const real *)y;
    if (cost->code == CB_QUADRATIC && n <= FEW)
        few_quadratic_values(a, t, n, ld, row, rows, values);
    else if (cost->code == CB_QUADRATIC)
        for (cb_index s = row; s < row + rows; s++)
            values[s] = quadratic_value(a + s * ld, t + s * ld, n);
    else
        terms_values(cost, l, t, row, rows, values);
}

INLINE vec slope(const int is_quadratic, const cb_cost_function *cost, vec parameter, vec a, vec y)
{
    return is_quadratic ? a - y : cost_slope(cost->code, parameter, a, y);
}

/* delta = dC/da, 0 beyond the outputs. */
INLINE void slopes(const int is_quadratic, const cb_cost_function *cost, const cb_layer *l,
                   const real *y, cb_index row, cb_index rows)
{
    const vec parameter = v_set((real)cost->parameter);
    const cb_index n = l->n_out, ld = l->ld_out;
    for (cb_index s = row; s < row + rows; s++) {
        const real *a = (const real *)l->a + s * ld, *t = y + s * ld;
        real *delta = (real *)l->delta + s * ld;
        cb_index j = 0;
        for (; j + LANES <= n; j += LANES)
            v_store(delta + j, slope(is_quadratic, cost, parameter, v_load(a + j), v_load(t + j)));
        if (j < n) {
            const vec last = slope(is_quadratic, cost, parameter, v_load(a + j), v_load(t + j));
            v_store(delta + j, v_first(n - j, last));
            j += LANES;
        }
        for (; j < ld; j += LANES)
            v_store(delta + j, (vec){0});
    }
}

static void cost_gradient(const cb_cost_function *cost, const cb_layer *l, const void *y,
                          cb_index row, cb_index rows)
{
    if (cost->code == CB_OWN_COST) {
        const cb_index at = row * l->ld_out;
        cost->own->slope(cost->own->context, (const real *)l->a + at, (const real *)y + at,
                         (real *)l->delta + at, rows, l->n_out, l->ld_out);
        for (cb_index s = row; s < row + rows; s++)
            clear_rest((real *)l->delta + s * l->ld_out, l->n_out, l->ld_out);
        return;
    }
    if (cost->code == CB_QUADRATIC)
        slopes(1, cost, l, y, row, rows);
    else
        slopes(0, cost, l, y, row, rows);
}

static void through_activation(const cb_layer *l, cb_index row, cb_index rows)
{
    const cb_index n = l->n_out, at = row * l->ld_out;
    real *delta = (real *)l->delta + at;
    const real *a = (const real *)l->a + at;
    if (l->activation == CB_IDENTITY)
        return;
    if (cb_is_elementwise(l->activation))
        derivative_tile(l, at, rows, vectors_in(n));
    else if (l->activation == CB_OWN_ACTIVATION)
        l->own->through(l->own->context, (const real *)l->z + at, a, delta, rows, n, l->ld_out);
    else
        for (cb_index s = 0; s < rows; s++)
            softmax_through_row(a + s * l->ld_out, delta + s * l->ld_out, n);
    for (cb_index s = 0; s < rows; s++)
        clear_rest(delta + s * l->ld_out, n, l->ld_out);
}

static void stable_error(const cb_layer *l, const void *y, cb_index row, cb_index rows)
{
    for (cb_index s = row; s < row + rows; s++) {
        const cb_index at = s * l->ld_out;
        const real *a = (const real *)l->a + at, *t = (const real *)y + at;
        real *delta = (real *)l->delta + at;
        const vec total = v_set(l->activation == CB_SOFTMAX ? row_sum(t, l->n_out) : (real)1);
        for (cb_index j = 0; j < l->n_out; j += LANES)
            v_store(delta + j, v_load(a + j) * total - v_load(t + j));
        clear_rest(delta, l->n_out, l->ld_out);
    }
}

static void propagate(const cb_layer *l, const cb_layer *next, const void *scratch, cb_index row,
                      cb_index rows, cb_index col, cb_index cols)
{
    const cb_index K = next->n_out, stride = K * CB_PANEL, at = row * l->ld_out + col;
    const real *delta_next = (const real *)next->delta + row * next->ld_out;
    real *delta = (real *)l->delta + at;
    const cb_index vectors = vectors_in(cols);
    static const real zeros[LANES];
    for (cb_index v = 0; v < vectors; v += 2) { /* delta = delta_next w */
        const int two = v + 1 < vectors;
        const real *b0 = PANEL_COLUMN((const real *)scratch, v * LANES, stride);
        const real *b1 = two ? PANEL_COLUMN((const real *)scratch, (v + 1) * LANES, stride) : b0;
        rows_tiles[two][rows - 1](K, delta_next, next->ld_out, b0, b1, zeros, zeros,
                                  delta + v * LANES, l->ld_out);
    }
    if (l->dropout)
        drop_errors(l, at, rows, vectors);
    derivative_tile(l, at, rows, vectors);
}

static void block_errors(const cb_layer *l, cb_index row, cb_index rows, cb_index col,
                         cb_index cols)
{
    const real *from = (const real *)l->delta + row * l->ld_out + col;
    real *to = (real *)l->delta_block + col * l->m + row * TILE_COLS;
    for (cb_index s = 0; s < rows; s++)
        for (cb_index v = 0; v < vectors_in(cols); v++)
            v_store(to + s * TILE_COLS + v * LANES, v_load(from + s * l->ld_out + v * LANES));
}

static int all_finite(const void *x, cb_index n)
{
    const real *p = x;
    vec bad[4] = {{0}, {0}, {0}, {0}}; /* side by side: one would wait for its own sum */
    cb_index i = 0;
    for (; i + 4 * LANES <= n; i += 4 * LANES) {
        UNROLL(4)
        for (int v = 0; v < 4; v++)
            bad[v] += v_load(p + i + v * LANES) - v_load(p + i + v * LANES);
    }
    for (; 4 * VECTOR_BYTES > CB_ALIGNMENT && i < n; i += LANES)
        bad[0] += v_load(p + i) - v_load(p + i);
    int found = 0;
    set_not_finite(&found, (bad[0] + bad[1]) + (bad[2] + bad[3]));
    return !found;
}

static vec normal(vec x)
{
    vec bell;
    return v_normal(x, &bell);
}

static void function(int which, const void *x, void *y, cb_index n)
{
    vec (*const f[])(vec) = {v_exp, v_log, v_tanh, v_sigmoid, v_log1p_unit, v_expm1_of_negative,
                             v_sin, v_cos, normal};
    real in[LANES], out[LANES];
    for (cb_index i = 0; i < n; i += LANES) {
        for (cb_index j = 0; j < LANES; j++)
            in[j] = ((const real *)x)[i + j < n ? i + j : i];
        v_store(out, f[which](v_load(in)));
        for (cb_index j = 0; j < LANES && i + j < n; j++)
            ((real *)y)[i + j] = out[j];
    }
}

const cb_kernels KERNEL_TABLE = {
    .name = KERNEL_NAME,
    .itemsize = (int)sizeof(real),
    .lanes = LANES,
    .tile_rows = TILE_ROWS,
    .tile_cols = TILE_COLS,
    .gather = gather,
    .one_hot = one_hot,
    .weighted_input = weighted_input,
    .complete_rows = complete_rows,
    .cost_value = cost_value,
    .cost_gradient = cost_gradient,
    .through_activation = through_activation,
    .stable_error = stable_error,
    .weigh = weigh,
    .score = score,
    .add_squares = add_squares,
    .transpose = transpose,
    .propagate = propagate,
    .block_errors = block_errors,
    .block_inputs = block_inputs,
    .gradient = gradient,
    .apply = apply,
    .drop_inputs = drop_inputs,
    .add_noise = add_noise,
    .add_error_squares = add_error_squares,
    .gradient_squares = gradient_squares,
    .limit_norms = limit_norms,
    .all_finite = all_finite,
    .function = function,
};
