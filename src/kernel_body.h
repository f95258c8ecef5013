/* The one numeric source. A file kernels_<table>_<precision>.c chooses width and dtype and
 * includes this; out of it falls one cb_kernels table. kernels.h says what each computes.
 */
#include "vector.h"
#include "vecmath.h"
#include "specialmath.h"
#include "tiles.h"
#include "transpose.h"
#include "few_rows.h"
#include "activations.h"
#include "costs.h"
#include "updates.h"
#include "dropout.h"

static void set_not_finite(int *flag, vec bad)
{
    int any = 0;
    for (int i = 0; i < LANES; i++)
        any |= bad[i] != 0;
    if (any) /* only ever raised, by any thread */
        __atomic_store_n(flag, 1, __ATOMIC_RELAXED);
}

INLINE real source_value(const char *p, int type)
{
    switch (type) {
    case CB_UINT8: return (real) * (const uint8_t *)p;
    case CB_FLOAT32: return (real) * (const float *)p;
    default: return (real) * (const double *)p;
    }
}

/* One row as it comes, contiguous or strided; a loop for each type. */
static void convert_row(const char *p, ptrdiff_t stride, int type, cb_index n, real *out)
{
    switch (type) {
    case CB_UINT8:
        if (stride == 1)
            for (cb_index k = 0; k < n; k++)
                out[k] = (real)((const uint8_t *)p)[k];
        else
            for (cb_index k = 0; k < n; k++)
                out[k] = source_value(p + k * stride, CB_UINT8);
        break;
    case CB_FLOAT32:
        if (stride == sizeof(float))
            for (cb_index k = 0; k < n; k++)
                out[k] = (real)((const float *)p)[k];
        else
            for (cb_index k = 0; k < n; k++)
                out[k] = source_value(p + k * stride, CB_FLOAT32);
        break;
    default:
        if (stride == sizeof(double))
            for (cb_index k = 0; k < n; k++)
                out[k] = (real)((const double *)p)[k];
        else
            for (cb_index k = 0; k < n; k++)
                out[k] = source_value(p + k * stride, CB_FLOAT64);
    }
}

/* v - v is 0, or NaN where v is not finite: summed into *bad. `from` may be `to`. */
static void scale_row(const cb_rows *x, const real *from, real *to, vec *bad)
{
    const real *scale = x->scale, *shift = x->shift;
    const cb_index n = x->width, whole = n - n % LANES;
    for (cb_index k = 0; k < whole; k += LANES) {
        vec v = v_load(from + k);
        if (scale)
            v = v_fma(v, v_load(scale + k), v_load(shift + k));
        *bad += v - v;
        v_store(to + k, v);
    }
    real rest = 0;
    for (cb_index k = whole; k < n; k++) {
        real v = from[k];
        if (scale)
            v = v_fma(v_set(v), v_set(scale[k]), v_set(shift[k]))[0];
        rest += v - v;
        to[k] = v;
    }
    if (whole < n)
        *bad += v_set(rest);
}

static void gather(const cb_rows *x, const int64_t *index, cb_index row, cb_index rows, void *out,
                   cb_index ld, int *non_finite)
{
    const cb_index n = x->width;
    const int as_is = x->type == (CB_BITS == 32 ? CB_FLOAT32 : CB_FLOAT64) &&
                      x->column_stride == sizeof(real);
    vec bad = {0};
    for (cb_index s = row; s < row + rows; s++) {
        const cb_index i = index ? (cb_index)index[s] : s;
        const char *from = (const char *)x->data + i * x->row_stride;
        real *to = (real *)out + s * ld;
        for (cb_index k = n - n % LANES; k < ld; k += LANES)
            v_store(to + k, (vec){0});
        if (!as_is)
            convert_row(from, x->column_stride, x->type, n, to);
        if (as_is || x->scale || x->type != CB_UINT8)
            scale_row(x, as_is ? (const real *)from : to, to, &bad);
        to[n] = (real)x->bias;
    }
    set_not_finite(non_finite, bad);
}

static void one_hot(const int32_t *labels, const int64_t *index, cb_index row, cb_index rows,
                    void *y, cb_index ld, cb_index n)
{
    for (cb_index s = row; s < row + rows; s++) {
        const int32_t label = labels[index ? (cb_index)index[s] : s];
        real *to = (real *)y + s * ld;
        clear_rest(to, 0, ld);
        if (n == 1)
            to[0] = (real)label;
        else
            to[label] = 1;
    }
}

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
    for (cb_index v = 0; v < vectors; v += 2) { /* z = b + a_in w^T */
        const int two = v + 1 < vectors;
        const real *b0 = PANEL_COLUMN(w, v * LANES, stride);
        const real *b1 = two ? PANEL_COLUMN(w, (v + 1) * LANES, stride) : b0;
        rows_tiles[two][rows - 1](K, a_in, l->ld_in, b0, b1, b0 + K * CB_PANEL, b1 + K * CB_PANEL,
                                  z + v * LANES, l->ld_out);
    }
    activate_tile(l, z, (real *)l->a + row * l->ld_out + col, rows, vectors);
}

static void complete_rows(const cb_layer *l, cb_index row, cb_index rows)
{
    for (cb_index s = row; s < row + rows; s++) {
        real *a = (real *)l->a + s * l->ld_out;
        if (l->activation == CB_SOFTMAX)
            softmax_row((const real *)l->z + s * l->ld_out, a, l->n_out);
        a[l->n_out] = 1;
        if (l->dropout)
            drop_row(l, s, a, (real *)l->dropped + s * l->ld_out);
    }
}

static void cost_value(const cb_cost_function *cost, const cb_layer *l, const void *y, cb_index row,
                       cb_index rows, double *values)
{
    for (cb_index s = row; s < row + rows; s++) {
        const cb_index at = s * l->ld_out;
        const real *a = (const real *)l->a + at, *t = (const real *)y + at;
        values[s] = cost->code == CB_QUADRATIC ? quadratic_value(a, t, l->n_out)
                                               : terms_value(cost, l, (const real *)l->z + at, a,
                                                             t, (real *)l->delta + at);
    }
}

static void cost_gradient(const cb_cost_function *cost, const cb_layer *l, const void *y,
                          cb_index row, cb_index rows)
{
    const vec parameter = v_set((real)cost->parameter);
    for (cb_index s = row; s < row + rows; s++) {
        const cb_index at = s * l->ld_out;
        const real *a = (const real *)l->a + at, *t = (const real *)y + at;
        real *delta = (real *)l->delta + at;
        for (cb_index j = 0; j < l->n_out; j += LANES)
            v_store(delta + j, cost_slope(cost->code, parameter, v_load(a + j), v_load(t + j)));
        clear_rest(delta, l->n_out, l->ld_out);
    }
}

static void through_activation(const cb_layer *l, cb_index row, cb_index rows)
{
    const cb_index n = l->n_out, at = row * l->ld_out;
    real *delta = (real *)l->delta + at;
    const real *a = (const real *)l->a + at;
    if (is_elementwise(l->activation))
        derivative_tile(l, at, rows, vectors_in(n));
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

static void weigh(const cb_layer *l, const double *weights, const int64_t *index, cb_index row,
                  cb_index rows)
{
    for (cb_index s = row; s < row + rows; s++) {
        const vec weight = v_set((real)weights[index ? (cb_index)index[s] : s]);
        real *delta = (real *)l->delta + s * l->ld_out;
        for (cb_index j = 0; j < l->n_out; j += LANES)
            v_store(delta + j, weight[0] == 0 ? (vec){0} : weight * v_load(delta + j));
    }
}

static void score(int kind, const cb_layer *l, const void *y, cb_index row, cb_index rows,
                  double *values)
{
    if (kind == CB_SQUARED_ERROR)
        return;
    const cb_index n = l->n_out;
    for (cb_index s = row; s < row + rows; s++) {
        const real *a = (const real *)l->a + s * l->ld_out, *t = (const real *)y + s * l->ld_out;
        values[s] = kind == CB_ARGMAX
                        ? arg_max(a, n) == arg_max(t, n)
                        : same_side(a, kind == CB_SUBSET ? (real)0.5 : (real)0, t, n);
    }
}

static void add_squares(const cb_layer *l, const void *y, const double *weights,
                        const int64_t *index, cb_index rows, cb_index col, cb_index cols,
                        double *sums)
{
    double *restrict sum = sums + col;
    for (cb_index s = 0; s < rows; s++) {
        const double weight = weights ? weights[index[s]] : 1;
        const cb_index at = s * l->ld_out + col;
        const real *restrict a = (const real *)l->a + at, *restrict t = (const real *)y + at;
        if (weight == 0)
            continue;
        for (cb_index j = 0; j < cols; j++) {
            const double d = (double)a[j] - (double)t[j];
            sum[j] += weight * (d * d);
        }
    }
}

static void propagate(const cb_layer *l, const cb_layer *next, const void *scratch, cb_index row,
                      cb_index rows, cb_index col, cb_index cols)
{
    const cb_index K = next->n_out, stride = K * CB_PANEL, at = row * l->ld_out + col;
    const real *delta_next = (const real *)next->delta + row * next->ld_out;
    real *delta = (real *)l->delta + at;
    const cb_index vectors = vectors_in(cols);
    for (cb_index v = 0; v < vectors; v += 2) { /* delta = delta_next w */
        const int two = v + 1 < vectors;
        const real *b0 = PANEL_COLUMN((const real *)scratch, v * LANES, stride);
        const real *b1 = two ? PANEL_COLUMN((const real *)scratch, (v + 1) * LANES, stride) : b0;
        rows_tiles[two][rows - 1](K, delta_next, next->ld_out, b0, b1, NULL, NULL,
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

static void block_inputs(const cb_layer *l, cb_index m, cb_index row, cb_index rows,
                         cb_index tiles, void *to)
{
    const cb_index larger = rows % tiles;
    for (cb_index i = 0; i < tiles; i++) {
        const cb_index n = rows / tiles + (i < larger);
        const real *from = (const real *)l->a_in + row;
        real *out = (real *)to + i * m * TILE_ROWS;
        for (cb_index s = 0; s < m - 1; s++) /* a vector's rest is overwritten by the next row */
            for (cb_index r = 0; r < TILE_ROWS; r += LANES)
                v_store(out + s * TILE_ROWS + r, v_load(from + s * l->ld_in + r));
        for (cb_index r = 0; r < n; r++)
            out[(m - 1) * TILE_ROWS + r] = from[(m - 1) * l->ld_in + r];
        row += n;
    }
}

/* Asks for a few cache lines of rows that will soon be gathered; goes on from there. */
static void look_ahead(cb_ahead *ahead)
{
    const cb_rows *x = ahead->rows;
    const cb_index item = x->type == CB_UINT8 ? 1 : x->type == CB_FLOAT32 ? 4 : 8;
    if (x->column_stride != item)
        return;
    for (int lines = 8; lines > 0 && ahead->left > 0; lines--) {
        __builtin_prefetch((const char *)x->data + *ahead->index * x->row_stride + ahead->at, 0, 2);
        ahead->at += 64;
        if (ahead->at >= x->width * item) {
            ahead->at = 0;
            ahead->index++;
            ahead->left--;
        }
    }
}

/* Sums in memory, or near, and the rule for them; o and the operands are those of one tile. */
static void gradient_in_general(const cb_layer *l, cb_index m, columns_fn *tile, cb_index rows,
                                const real *a, cb_index lda, const real *d0, const real *d1,
                                cb_index ldd, outcome *o)
{
    const cb_index at0 = o->w0 - (real *)l->w, at1 = o->w1 - (real *)l->w;
    real near[2][TILE_ROWS * CB_PANEL];
    const cb_update *u = o->update;
    const int in_memory = u->rule <= CB_SUM || u->goes_on;
    o->sum0 = in_memory ? (real *)l->nabla + at0 : near[0];
    o->sum1 = in_memory ? (real *)l->nabla + at1 : near[1];
    if (u->rule > CB_SGD)
        ask_for_state(l, at0, at1, rows);
    tile(m, a, lda, d0, d1, ldd, o);
    if (u->rule > CB_SGD) {
        apply_rule(l, at0, rows, o->sum0, o->bias_row, u);
        if (at1 != at0)
            apply_rule(l, at1, rows, o->sum1, o->bias_row, u);
    }
}

static void gradient(const cb_layer *l, cb_index m, const void *inputs, cb_index row,
                     cb_index rows, cb_index tiles, cb_index col, cb_index cols,
                     const cb_update *update, cb_ahead *ahead)
{
    const cb_index stride = (l->n_in + 1) * CB_PANEL;
    const cb_index lda = inputs ? TILE_ROWS : l->ld_in, ldd = inputs ? TILE_COLS : l->ld_out;
    const real *delta = inputs ? (const real *)l->delta_block + col * l->m
                               : (const real *)l->delta + col;
    const int fused = update->rule == CB_SGD && !update->goes_on;
    const cb_index vectors = vectors_in(cols), least = rows / tiles, larger = rows % tiles;
    for (cb_index v = 0; v < vectors; v += 2) {
        const int two = v + 1 < vectors;
        const real *d0 = delta + v * LANES, *d1 = two ? d0 + LANES : d0;
        const real *a = inputs ? (const real *)inputs : (const real *)l->a_in + row;
        real *w = (real *)l->w + col / CB_PANEL * stride + row * CB_PANEL;
        outcome o = {.update = update, .bias_row = (int)(l->n_in - row)};
        o.w0 = PANEL_COLUMN(w, v * LANES, stride);
        o.w1 = two ? PANEL_COLUMN(w, (v + 1) * LANES, stride) : o.w0;
        for (cb_index i = 0; i < tiles; i++) {
            const cb_index n = least + (i < larger);
            columns_fn *tile = columns_tiles[two][n - 1];
            if (fused)
                tile(m, a, lda, d0, d1, ldd, &o);
            else
                gradient_in_general(l, m, tile, n, a, lda, d0, d1, ldd, &o);
            if (ahead && ahead->left > 0)
                look_ahead(ahead);
            a += inputs ? m * TILE_ROWS : n;
            o.w0 += n * CB_PANEL;
            o.w1 += n * CB_PANEL;
            o.bias_row -= (int)n;
        }
    }
}

static void apply(const cb_layer *l, cb_index row, cb_index rows, cb_index col, cb_index cols,
                  const cb_update *update)
{
    const cb_index stride = (l->n_in + 1) * CB_PANEL;
    for (cb_index v = 0; v < vectors_in(cols); v++) {
        const cb_index at = col / CB_PANEL * stride + row * CB_PANEL +
                            PANEL_OFFSET(v * LANES, stride);
        apply_rule(l, at, rows, (const real *)l->nabla + at, (int)(l->n_in - row), update);
    }
}

static int all_finite(const void *x, cb_index n)
{
    const real *p = x;
    vec bad = {0};
    cb_index i = 0;
    for (; i + LANES <= n; i += LANES)
        bad += v_load(p + i) - v_load(p + i);
    for (; i < n; i++)
        bad += v_set(p[i] - p[i]);
    int found = 0;
    set_not_finite(&found, bad);
    return !found;
}

static vec normal(vec x)
{
    vec bell;
    return v_normal(x, &bell);
}

static void function(int which, const void *x, void *y, cb_index n)
{
    vec (*const f[])(vec) = {v_exp, v_log, v_tanh, v_sigmoid, v_log1p_unit,
                             v_expm1_of_negative, v_sin, v_cos, normal};
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
    .all_finite = all_finite,
    .function = function,
};
