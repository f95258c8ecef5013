/* Forward, BP2 and BP4 with operands rounded to bfloat16: cb_bf16_kernels of kernels.h. w is
 * rounded where it is used, into a thread's scratch; activations and errors once a mini-batch.
 * z, a, delta, the sums and w itself are those of the float32 table.
 */
INLINE cb_index halved(cb_index n) { return (n + 1) / 2; }

/* A panel is a vector wide here. */
INLINE cb_index panel_size(const cb_layer *l) { return (l->n_in + 1) * CB_PANEL; }
INLINE real *panel(const cb_layer *l, cb_index col)
{
    return (real *)l->w + col / CB_PANEL * panel_size(l);
}

static void round_inputs(const cb_layer *l, cb_index row, cb_index rows)
{
    const cb_index end = (row + rows) * l->ld_in; /* whole vectors */
    for (cb_index i = row * l->ld_in; i < end; i += LANES)
        store_rounded((uint16_t *)l->a_bf16 + i, v_load((const real *)l->a_in + i));
}

static void round_weights(const cb_layer *l, cb_index col, cb_index cols, void *scratch)
{
    const cb_index n = l->n_in;
    for (cb_index j = 0; j < cols; j += LANES) {
        const real *w = panel(l, col + j);
        pair *to = (pair *)scratch + j;
        for (cb_index k = 0; k < n; k += 2, to += TILE_COLS)
            store_pairs(to, pairs_of(v_load(w + k * CB_PANEL),
                                     k + 1 < n ? v_load(w + (k + 1) * CB_PANEL) : (vec){0}));
    }
}

static void weighted_input(const cb_layer *l, const void *scratch, cb_index row, cb_index rows,
                           cb_index col, cb_index cols)
{
    const cb_index n = l->n_in, at = row * l->ld_out + col;
    const int two = cols > LANES;
    const real *bias = panel(l, col) + n * CB_PANEL;
    real *z = (real *)l->z + at;
    const ends e = {bias, two ? bias + panel_size(l) : NULL, z, z + LANES, l->ld_out};
    pairs_tiles[two][rows - 1](halved(n), (const pair *)l->a_bf16 + row * l->ld_in / 2,
                               l->ld_in / 2, scratch, &e);
    activate_tile(l, z, (real *)l->a + at, rows, 1 + two);
}

/* Both panels of 32 neurons meet in a vector of pairs, one for each of 16 inputs. */
static void transpose(const cb_layer *l, cb_index col, cb_index cols, void *scratch)
{
    const cb_index n = l->n_out;
    for (cb_index i = 0; i < cols; i += LANES)
        for (cb_index j = 0; j < n; j += 2 * CB_PANEL) {
            const real *w = panel(l, j) + (col + i) * CB_PANEL;
            const cb_index other = n - j > CB_PANEL ? panel_size(l) : 0;
            ivec x[LANES];
            UNROLL(16)
            for (int k = 0; k < LANES; k++) {
                vec first = {0}, second = {0};
                if (k < cols - i)
                    first = v_load(w + k * CB_PANEL);
                if (k < cols - i && other)
                    second = v_load(w + other + k * CB_PANEL);
                x[k] = (ivec)_mm512_cvtne2ps_pbh((__m512)second, (__m512)first);
            }
            transpose_pairs(x);
            pair *to = (pair *)scratch + j / 2 * TILE_COLS + i;
            UNROLL(16)
            for (int k = 0; k < LANES; k++)
                if (k < halved(n - j))
                    store_pairs(to + k * TILE_COLS, x[k]);
        }
}

static void propagate(const cb_layer *l, const cb_layer *next, const void *scratch, cb_index row,
                      cb_index rows, cb_index col, cb_index cols)
{
    const cb_index at = row * l->ld_out + col;
    const int two = cols > LANES;
    real *delta = (real *)l->delta + at;
    const ends e = {NULL, NULL, delta, delta + LANES, l->ld_out};
    pairs_tiles[two][rows - 1](halved(next->n_out),
                               (const pair *)next->delta_bf16 + row * next->ld_out / 2,
                               next->ld_out / 2, scratch, &e);
    if (l->dropout)
        drop_errors(l, at, rows, 1 + two);
    derivative_tile(l, at, rows, 1 + two);
}

static void round_errors(const cb_layer *l, cb_index row, cb_index rows, cb_index col,
                         cb_index cols)
{
    const cb_index ld = l->ld_out;
    pair *to = (pair *)l->delta_pairs + col * halved(l->m) + row / 2 * TILE_COLS;
    for (cb_index s = row; s < row + rows; s += 2, to += TILE_COLS)
        for (cb_index j = 0; j < cols; j += LANES) {
            const cb_index at = s * ld + col + j;
            const real *delta = (const real *)l->delta + at;
            const int two = s + 1 < row + rows;
            const vec even = v_load(delta), odd = two ? v_load(delta + ld) : (vec){0};
            if (l->delta_bf16)
                store_rounded((uint16_t *)l->delta_bf16 + at, even);
            if (l->delta_bf16 && two)
                store_rounded((uint16_t *)l->delta_bf16 + at + ld, odd);
            store_pairs(to + j, pairs_of(even, odd));
        }
}

/* Inputs at .. at + 16 of samples s and s + 1 < m, zipped. */
INLINE ivec input_pairs(const cb_layer *l, cb_index m, cb_index s, cb_index at)
{
    const uint16_t *a = (const uint16_t *)l->a_bf16 + s * l->ld_in + at;
    __m256i even = {0}, odd = {0};
    if (s < m)
        memcpy(&even, a, sizeof even);
    if (s + 1 < m)
        memcpy(&odd, a + l->ld_in, sizeof odd);
    return zip(_mm512_inserti64x4(_mm512_castsi256_si512(even), odd, 1));
}

static void block_inputs(const cb_layer *l, cb_index m, cb_index row, cb_index rows, cb_index tiles,
                         void *to)
{
    const cb_index larger = rows % tiles, stride = cb_bf16_stride(m);
    pair *out = to;
    for (cb_index i = 0; i < tiles; i++, out += TILE_ROWS * stride) {
        const cb_index n = rows / tiles + (i < larger);
        for (cb_index k = 0; k < stride; k += LANES) {
            ivec x[LANES];
            UNROLL(16)
            for (int q = 0; q < LANES; q++)
                x[q] = input_pairs(l, m, 2 * (k + q), row);
            transpose_pairs(x);
            UNROLL(12)
            for (int r = 0; r < TILE_ROWS; r++)
                if (r < n)
                    store_pairs(out + r * stride + k, x[r]);
        }
        row += n;
    }
}

/* The weights of a tile, wanted after its sums. */
INLINE void ask_for_weights(const real *w0, const real *w1, cb_index rows)
{
    for (cb_index r = 0; r < rows; r++) {
        __builtin_prefetch(w0 + r * CB_PANEL, 1);
        __builtin_prefetch(w1 + r * CB_PANEL, 1);
    }
}

static void gradient(const cb_layer *l, cb_index m, const void *inputs, cb_index row, cb_index rows,
                     cb_index tiles, cb_index col, cb_index cols, const cb_update *update,
                     cb_ahead *ahead)
{
    const cb_index stride = cb_bf16_stride(m);
    const cb_index least = rows / tiles, larger = rows % tiles;
    const int two = cols > LANES;
    const pair *a = inputs, *delta = (const pair *)l->delta_pairs + col * halved(l->m);
    cb_index at0 = panel(l, col) - (real *)l->w + row * CB_PANEL;
    cb_index at1 = at0 + (two ? panel_size(l) : 0);
    int bias_row = (int)(l->n_in - row);
    real near[2][TILE_ROWS * CB_PANEL];
    for (cb_index i = 0; i < tiles; i++) {
        const cb_index n = least + (i < larger);
        ends e = {NULL, NULL, near[0], near[1], CB_PANEL};
        if (update->rule == CB_SUM) {
            e.out0 = (real *)l->nabla + at0;
            e.out1 = (real *)l->nabla + at1;
        } else {
            ask_for_weights((real *)l->w + at0, (real *)l->w + at1, n);
            ask_for_state(l, at0, at1, n);
        }
        pairs_tiles[two][n - 1](halved(m), a, stride, delta, &e);
        if (update->rule != CB_SUM) {
            apply_rule(l, at0, n, near[0], bias_row, update);
            if (two)
                apply_rule(l, at1, n, near[1], bias_row, update);
        }
        if (ahead && ahead->left > 0)
            look_ahead(ahead, 0);
        a += TILE_ROWS * stride;
        at0 += n * CB_PANEL;
        at1 += n * CB_PANEL;
        bias_row -= (int)n;
    }
}

const cb_bf16_kernels cb_kernels_avx512bf16_f32 = {
    .round_inputs = round_inputs,
    .round_weights = round_weights,
    .weighted_input = weighted_input,
    .transpose = transpose,
    .propagate = propagate,
    .round_errors = round_errors,
    .block_inputs = block_inputs,
    .gradient = gradient,
};
