/* A block of a weight matrix transposed for BP2, LANES x LANES elements at a time in
 * registers: log2(LANES) perfect shuffles of LANES vectors are their transpose.
 */
#if defined(__clang__)
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (ivec){__VA_ARGS__})
#endif
/* a[0], b[0], a[1], b[1], ...: the first halves, and the second ones. */
#if VECTOR_BYTES * 8 == 2 * CB_BITS
#define FIRST_HALVES 0, 2
#define SECOND_HALVES 1, 3
#elif VECTOR_BYTES * 8 == 4 * CB_BITS
#define FIRST_HALVES 0, 4, 1, 5
#define SECOND_HALVES 2, 6, 3, 7
#elif VECTOR_BYTES * 8 == 8 * CB_BITS
#define FIRST_HALVES 0, 8, 1, 9, 2, 10, 3, 11
#define SECOND_HALVES 4, 12, 5, 13, 6, 14, 7, 15
#else
#define FIRST_HALVES 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define SECOND_HALVES 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#endif

INLINE void transpose_vectors(vec x[LANES])
{
    UNROLL(4)
    for (int step = 1; step < LANES; step *= 2) {
        vec y[LANES];
        UNROLL(8)
        for (int i = 0; i < LANES / 2; i++) {
            y[2 * i] = SHUFFLE(x[i], x[i + LANES / 2], FIRST_HALVES);
            y[2 * i + 1] = SHUFFLE(x[i], x[i + LANES / 2], SECOND_HALVES);
        }
        UNROLL(16)
        for (int i = 0; i < LANES; i++)
            x[i] = y[i];
    }
}

/* to[j][i] = from[i][j], i < width, j < height, rows of CB_PANEL; 0 for other i. */
INLINE void transpose_block(const real *from, cb_index width, cb_index height, real *to)
{
    vec x[LANES];
    UNROLL(16)
    for (int t = 0; t < LANES; t++)
        x[t] = t < width ? v_load(from + t * CB_PANEL) : (vec){0};
    transpose_vectors(x);
    UNROLL(16)
    for (int t = 0; t < LANES; t++)
        if (t < height)
            v_store(to + t * CB_PANEL, x[t]);
}

static void transpose(const cb_layer *l, cb_index col, cb_index cols, void *scratch)
{
    const real *w = l->w;
    const cb_index n = l->n_out, stride = (l->n_in + 1) * CB_PANEL;
    for (cb_index i = 0; i < (cols + CB_PANEL - 1) / CB_PANEL * CB_PANEL; i += LANES) {
        real *to = PANEL_COLUMN((real *)scratch, i, n * CB_PANEL);
        for (cb_index j = 0; j < n; j += LANES) {
            const real *from = PANEL_COLUMN(w, j, stride) + (col + i) * CB_PANEL;
            if (cols - i >= LANES && n - j >= LANES)
                transpose_block(from, LANES, LANES, to + j * CB_PANEL);
            else
                transpose_block(from, cols - i, n - j, to + j * CB_PANEL);
        }
    }
}
