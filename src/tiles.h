/* The one product everything is made of: a tile of MR rows and NV vectors,
 *
 *     acc[r][v] = init[r][v] + sum_k A[r][k] * B[k][v],   k in order, one fma a step,
 *
 * accumulators in registers over the whole contraction. MR and NV are constants in each
 * instance, so the loops over them vanish. Two callers, two ways to walk A:
 *   product_rows     A[r][k] at a[r * lda + k]   forward and BP2; B is column panels
 *   product_columns  A[r][k] at a[k * lda + r]   BP4; B is the rows of delta
 * B's second vector has a pointer of its own: it may lie in the next panel.
 */
#if defined(CB_AVX512) || defined(CB_NEON)
#define TILE_ROWS 12
#else
#define TILE_ROWS 6
#endif
#define ROWS_AHEAD 32 /* steps, each of 12 clocks */
#define TILE_COLS (2 * LANES > CB_PANEL ? 2 * LANES : CB_PANEL)

/* Where column c of a block of panels starts; stride is one panel. */
#define PANEL_OFFSET(c, stride) \
    ((cb_index)((size_t)(c) / CB_PANEL) * (stride) + (cb_index)((size_t)(c) % CB_PANEL))
#define PANEL_COLUMN(base, c, stride) ((base) + PANEL_OFFSET(c, stride))

INLINE cb_index vectors_in(cb_index cols) { return (cols + LANES - 1) / LANES; }

/* What another core wrote in the last step, or reads the last result of, takes some hundred clocks
 * to come: lines of b are asked for ahead, and during the first steps the lines of out, to be
 * written. */
INLINE void product_rows(const int MR, const int NV, cb_index K, const real *a, cb_index lda,
                         const real *b0, const real *b1, real *out, cb_index ldo,
                         vec acc[TILE_ROWS][2])
{
    const int two_lines = NV > 1 && VECTOR_BYTES == CB_CACHE_LINE;
    /* Rows r, r+1, r+2 share a base pointer: x86 addresses them as p, p + s, p + 2s. */
    const real *p[4] = {a, a + 3 * lda, a + 6 * lda, a + 9 * lda};
    cb_index k = 0;
#define STEP                                                      \
    {                                                             \
        const vec x0 = v_load(b0), x1 = NV > 1 ? v_load(b1) : x0; \
        __builtin_prefetch(b0 + ROWS_AHEAD * CB_PANEL);           \
        if (two_lines)                                            \
            __builtin_prefetch(b1 + ROWS_AHEAD * CB_PANEL);       \
        UNROLL(12)                                                \
        for (int r = 0; r < MR; r++) {                            \
            const vec y = v_set(p[r / 3][(r % 3) * lda]);         \
            acc[r][0] = v_fma(y, x0, acc[r][0]);                  \
            if (NV > 1)                                           \
                acc[r][1] = v_fma(y, x1, acc[r][1]);              \
        }                                                         \
        b0 += CB_PANEL;                                           \
        b1 += CB_PANEL;                                           \
        UNROLL(4)                                                 \
        for (int q = 0; q < (MR + 2) / 3; q++) {                  \
            p[q]++;                                               \
            AS_IT_IS(p[q]);                                       \
        }                                                         \
    }
    for (const cb_index end = K < MR ? K : MR; k < end; k++) {
        __builtin_prefetch(out, 1);
        if (two_lines)
            __builtin_prefetch(out + LANES, 1);
        out += ldo;
        STEP
    }
    for (; k < K; k++)
        STEP
#undef STEP
}

/* What a tile of BP4 ends in, for its first and second vector: rows of w, and where its sums
 * lie if they go through memory. */
typedef struct outcome {
    real *w0, *w1, *sum0, *sum1;
    const cb_update *update;
    int bias_row, first;
    const char *ask;   /* lines that the steps of a tile that asks ask for, */
    cb_index ask_step; /* so many bytes apart */
} outcome;

/* During the first steps the rows of w that the sums will meet are asked for; after them, where
 * `first` says that they have not been near, the operands of the next tile and of the next block of
 * columns, which another core may have written; `asks`: look_ahead(). The step stands three times: as a function of its
 * own it made 784-30-10 on two threads 3 % slower (GCC 12). */
INLINE void product_columns(const int MR, const int NV, const int asks, cb_index K, const real *a,
                            cb_index lda, const real *b0, const real *b1, cb_index ldb,
                            const outcome *o, vec acc[TILE_ROWS][2])
{
    const int two_lines = NV > 1 && VECTOR_BYTES == CB_CACHE_LINE;
    const real *w0 = o->w0, *w1 = o->w1;
    const char *ask = o->ask;
    const cb_index ask_step = o->ask_step;
    cb_index k = 0;
#define STEP                                                      \
    {                                                             \
        const vec x0 = v_load(b0), x1 = NV > 1 ? v_load(b1) : x0; \
        UNROLL(12)                                                \
        for (int r = 0; r < MR; r++) {                            \
            const vec y = v_set(a[r]);                            \
            acc[r][0] = v_fma(y, x0, acc[r][0]);                  \
            if (NV > 1)                                           \
                acc[r][1] = v_fma(y, x1, acc[r][1]);              \
        }                                                         \
        if (asks) {                                               \
            __builtin_prefetch(ask, 0, 2);                        \
            ask += ask_step;                                      \
        }                                                         \
        a += lda;                                                 \
        b0 += ldb;                                                \
        b1 += ldb;                                                \
    }
    for (const cb_index end = K < MR ? K : MR; k < end; k++) {
        __builtin_prefetch(w0 + k * CB_PANEL, 1);
        if (two_lines)
            __builtin_prefetch(w1 + k * CB_PANEL, 1);
        STEP
    }
    if (o->first)
        for (; k < K; k++) {
            __builtin_prefetch(a + CB_CACHE_LINE / sizeof(real), 0, 2);
            __builtin_prefetch(b0 + TILE_COLS, 0, 2);
            STEP
        }
    for (; k < K; k++)
        STEP
#undef STEP
}

/* out[r][v] = init[v] + sum_k a[r][k] b[k][v] */
INLINE void rows_tile(const int MR, const int NV, cb_index K, const real *a, cb_index lda,
                      const real *b0, const real *b1, const real *init0, const real *init1,
                      real *out, cb_index ldo)
{
    vec acc[TILE_ROWS][2];
    UNROLL(12)
    for (int r = 0; r < MR; r++) {
        acc[r][0] = v_load(init0);
        acc[r][1] = NV > 1 ? v_load(init1) : (vec){0};
    }
    product_rows(MR, NV, K, a, lda, b0, b1, out, ldo, acc);
    UNROLL(12)
    for (int r = 0; r < MR; r++) {
        v_store(out + r * ldo, acc[r][0]);
        if (NV > 1)
            v_store(out + r * ldo + LANES, acc[r][1]);
    }
}

/* The sums begin at 0, or with what sum0 and sum1 hold; at the end they meet the rule:
 * w = decay w - rate sum (CB_SGD), sum = acc / m (CB_STORE), or sum = acc for others to use.
 * A tile that asks does not go on from sums and is not given CB_STORE. */
INLINE void columns_tile(const int MR, const int NV, const int asks, cb_index K, const real *a,
                         cb_index lda, const real *b0, const real *b1, cb_index ldb,
                         const outcome *o)
{
    vec acc[TILE_ROWS][2];
    UNROLL(12)
    for (int r = 0; r < MR; r++)
        acc[r][0] = acc[r][1] = (vec){0};
    if (!asks && o->update->goes_on) {
        UNROLL(12)
        for (int r = 0; r < MR; r++) {
            acc[r][0] = v_load(o->sum0 + r * CB_PANEL);
            if (NV > 1)
                acc[r][1] = v_load(o->sum1 + r * CB_PANEL);
        }
    }
    product_columns(MR, NV, asks, K, a, lda, b0, b1, ldb, o, acc);
    const cb_update *u = o->update;
    if (u->rule == CB_SGD) {
        const vec rate = v_set((real)-u->rate), decay = v_set((real)u->decay);
        real *w0 = o->w0, *w1 = o->w1;
        if (u->decay == 1) { /* by itself: a product less for each sum */
            UNROLL(12)
            for (int r = 0; r < MR; r++, w0 += CB_PANEL, w1 += CB_PANEL) {
                v_store(w0, v_fma(rate, acc[r][0], v_load(w0)));
                if (NV > 1)
                    v_store(w1, v_fma(rate, acc[r][1], v_load(w1)));
            }
            return;
        }
        UNROLL(12)
        for (int r = 0; r < MR; r++, w0 += CB_PANEL, w1 += CB_PANEL) {
            const vec keep = r == o->bias_row ? v_set((real)1) : decay;
            v_store(w0, v_fma(rate, acc[r][0], keep * v_load(w0)));
            if (NV > 1)
                v_store(w1, v_fma(rate, acc[r][1], keep * v_load(w1)));
        }
        return;
    }
    if (!asks && u->rule == CB_STORE) {
        const vec m = v_set((real)u->m);
        UNROLL(12)
        for (int r = 0; r < MR; r++) {
            acc[r][0] = acc[r][0] / m;
            if (NV > 1)
                acc[r][1] = acc[r][1] / m;
        }
    }
    UNROLL(12)
    for (int r = 0; r < MR; r++) {
        v_store(o->sum0 + r * CB_PANEL, acc[r][0]);
        if (NV > 1)
            v_store(o->sum1 + r * CB_PANEL, acc[r][1]);
    }
}

typedef void rows_fn(cb_index K, const real *a, cb_index lda, const real *b0, const real *b1,
                     const real *init0, const real *init1, real *out, cb_index ldo);
typedef void columns_fn(cb_index K, const real *a, cb_index lda, const real *b0, const real *b1,
                        cb_index ldb, const outcome *o);

#define ROWS_INSTANCE(MR, NV)                                                                     \
    static void rows_##MR##x##NV(cb_index K, const real *a, cb_index lda, const real *b0,         \
                                 const real *b1, const real *init0, const real *init1, real *out, \
                                 cb_index ldo)                                                    \
    {                                                                                             \
        rows_tile(MR, NV, K, a, lda, b0, b1, init0, init1, out, ldo);                             \
    }
#define COLUMNS_INSTANCE(MR, NV)                                                             \
    static void columns_##MR##x##NV(cb_index K, const real *a, cb_index lda, const real *b0, \
                                    const real *b1, cb_index ldb, const outcome *o)          \
    {                                                                                        \
        columns_tile(MR, NV, 0, K, a, lda, b0, b1, ldb, o);                                  \
    }
#define ASKING_INSTANCE(MR, NV)                                                             \
    static void asking_##MR##x##NV(cb_index K, const real *a, cb_index lda, const real *b0, \
                                   const real *b1, cb_index ldb, const outcome *o)          \
    {                                                                                       \
        columns_tile(MR, NV, 1, K, a, lda, b0, b1, ldb, o);                                 \
    }
/* BP4 has two rows at least, an input and the bias; where rows are long it has the largest tiles. */
#if TILE_ROWS == 12
#define LARGEST_TILES(X, NV) X(11, NV) X(12, NV)
#define EVERY_TILE_FROM_2(X, NV) \
    X(2, NV)                     \
    X(3, NV) X(4, NV) X(5, NV) X(6, NV) X(7, NV) X(8, NV) X(9, NV) X(10, NV) X(11, NV) X(12, NV)
#else
#define LARGEST_TILES(X, NV) X(5, NV) X(6, NV)
#define EVERY_TILE_FROM_2(X, NV) X(2, NV) X(3, NV) X(4, NV) X(5, NV) X(6, NV)
#endif
#define EVERY_TILE(X, NV) X(1, NV) EVERY_TILE_FROM_2(X, NV)
EVERY_TILE(ROWS_INSTANCE, 1)
EVERY_TILE(ROWS_INSTANCE, 2)
EVERY_TILE_FROM_2(COLUMNS_INSTANCE, 1)
EVERY_TILE_FROM_2(COLUMNS_INSTANCE, 2)
LARGEST_TILES(ASKING_INSTANCE, 1)
LARGEST_TILES(ASKING_INSTANCE, 2)
#undef ROWS_INSTANCE
#undef COLUMNS_INSTANCE
#undef ASKING_INSTANCE

#define ROWS_ENTRY(MR, NV) rows_##MR##x##NV,
#define COLUMNS_ENTRY(MR, NV) columns_##MR##x##NV,
#define ASKING_ENTRY(MR, NV) asking_##MR##x##NV,
static rows_fn *const rows_tiles[2][TILE_ROWS] = {{EVERY_TILE(ROWS_ENTRY, 1)},
                                                  {EVERY_TILE(ROWS_ENTRY, 2)}};
static columns_fn *const columns_tiles[2][TILE_ROWS] = {
    {NULL, EVERY_TILE_FROM_2(COLUMNS_ENTRY, 1)}, {NULL, EVERY_TILE_FROM_2(COLUMNS_ENTRY, 2)}};
/* Of the rows TILE_ROWS - 1 and TILE_ROWS. */
static columns_fn *const asking_tiles[2][2] = {{LARGEST_TILES(ASKING_ENTRY, 1)},
                                               {LARGEST_TILES(ASKING_ENTRY, 2)}};
#undef ROWS_ENTRY
#undef COLUMNS_ENTRY
#undef ASKING_ENTRY
#undef EVERY_TILE
#undef EVERY_TILE_FROM_2
#undef LARGEST_TILES
