/* BP3 and BP4: the sums of tiles.h and what becomes of them, updates.h. */
#include "ahead.h"

static void block_inputs(const cb_layer *l, cb_index m, cb_index row, cb_index rows, cb_index tiles,
                         void *to)
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

static void gradient(const cb_layer *l, cb_index m, const void *inputs, cb_index row, cb_index rows,
                     cb_index tiles, cb_index col, cb_index cols, const cb_update *update,
                     cb_ahead *ahead)
{
    const cb_index stride = (l->n_in + 1) * CB_PANEL;
    const cb_index lda = inputs ? TILE_ROWS : l->ld_in, ldd = inputs ? TILE_COLS : l->ld_out;
    const real *delta =
        inputs ? (const real *)l->delta_block + col * l->m : (const real *)l->delta + col;
    const int fused = update->rule == CB_SGD && !update->goes_on;
    const cb_index vectors = vectors_in(cols), least = rows / tiles, larger = rows % tiles;
    const int apart = fused && half_apart(cols);
    const int may_ask = !update->goes_on && update->rule != CB_STORE;
    for (cb_index v = 0; v < vectors; v += apart ? 1 : 2) {
        const int two = !apart && v + 1 < vectors, half = fused && half_will_do(cols - v * LANES);
        const real *d0 = delta + v * LANES, *d1 = two ? d0 + LANES : d0;
        const real *a = inputs ? (const real *)inputs : (const real *)l->a_in + row;
        real *w = (real *)l->w + col / CB_PANEL * stride + row * CB_PANEL;
        outcome o = {.update = update, .bias_row = (int)(l->n_in - row)};
        o.w0 = PANEL_COLUMN(w, v * LANES, stride);
        o.w1 = two ? PANEL_COLUMN(w, (v + 1) * LANES, stride) : o.w0;
        for (cb_index i = 0; i < tiles; i++) {
            const cb_index n = least + (i < larger);
            columns_fn *tile = columns_tiles[two][n - 1];
            if (ahead && ahead->left > 0) {
                o.ask = look_ahead(ahead, may_ask && !half && n >= TILE_ROWS - 1);
                o.ask_step = ahead->step;
                if (o.ask)
                    tile = asking_tiles[two][n - (TILE_ROWS - 1)];
            }
            o.first = !inputs && (i == 0 || col == 0); /* else they lie in order */
            if (!fused)
                gradient_in_general(l, m, tile, n, a, lda, d0, d1, ldd, &o);
#if defined(HALF_LANES)
            else if (half)
                half_columns_tiles[n - 1](m, a, lda, d0, ldd, &o);
#endif
            else
                tile(m, a, lda, d0, d1, ldd, &o);
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
        const cb_index at =
            col / CB_PANEL * stride + row * CB_PANEL + PANEL_OFFSET(v * LANES, stride);
        apply_rule(l, at, rows, (const real *)l->nabla + at, (int)(l->n_in - row), update);
    }
}
