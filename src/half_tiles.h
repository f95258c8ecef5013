/* Tiles of half a vector, for outputs so few that they fill no more of one: 1 .. LANES / 2,
 * alone or after one whole vector.
 * Half a vector takes half the time where two of them start in a clock (Zen 4), and no longer
 * elsewhere. The sums are those of tiles.h, in the same order; lanes beyond are not touched.
 */
#if defined(CB_AVX512)
#define HALF_LANES (LANES / 2)
typedef real half __attribute__((vector_size(VECTOR_BYTES / 2)));
typedef real half_anywhere
    __attribute__((vector_size(VECTOR_BYTES / 2), aligned(sizeof(real)), may_alias));

INLINE half h_load(const real *p) { return (half) * (const half_anywhere *)p; }
INLINE void h_store(real *p, half x) { *(half_anywhere *)p = (half_anywhere)x; }
INLINE half h_set(real x) { return x - (half){0}; }
INLINE half h_fma(half a, half b, half c)
{
#if CB_BITS == 32
    return (half)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
    return (half)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
#endif
}

/* out[r] = b[K] + sum_k a[r][k] b[k]: the forward pass, whose bias is the panel's last row. */
INLINE void half_rows_tile(const int MR, cb_index K, const real *a, cb_index lda, const real *b,
                           real *out, cb_index ldo)
{
    half acc[TILE_ROWS];
    const real *p[4] = {a, a + 3 * lda, a + 6 * lda, a + 9 * lda};
    UNROLL(12)
    for (int r = 0; r < MR; r++)
        acc[r] = h_load(b + K * CB_PANEL);
    for (cb_index k = 0; k < K; k++, b += CB_PANEL) {
        const half x = h_load(b);
        UNROLL(12)
        for (int r = 0; r < MR; r++)
            acc[r] = h_fma(h_set(p[r / 3][(r % 3) * lda]), x, acc[r]);
        UNROLL(4)
        for (int q = 0; q < (MR + 2) / 3; q++)
            p[q]++;
    }
    UNROLL(12)
    for (int r = 0; r < MR; r++)
        h_store(out + r * ldo, acc[r]);
}

/* w[r] = keep w[r] - rate sum_k a[k][r] b[k]: BP4 with plain descent. */
INLINE void half_columns_tile(const int MR, cb_index K, const real *a, cb_index lda, const real *b,
                              cb_index ldb, const outcome *o)
{
    half acc[TILE_ROWS];
    UNROLL(12)
    for (int r = 0; r < MR; r++)
        acc[r] = (half){0};
    for (cb_index k = 0; k < K; k++, a += lda, b += ldb) {
        const half x = h_load(b);
        UNROLL(12)
        for (int r = 0; r < MR; r++)
            acc[r] = h_fma(h_set(a[r]), x, acc[r]);
    }
    const half rate = h_set((real)-o->update->rate), decay = h_set((real)o->update->decay);
    real *w = o->w0;
    UNROLL(12)
    for (int r = 0; r < MR; r++, w += CB_PANEL) {
        const half keep = r == o->bias_row ? h_set((real)1) : decay;
        h_store(w, h_fma(rate, acc[r], keep * h_load(w)));
    }
}

typedef void half_rows_fn(cb_index K, const real *a, cb_index lda, const real *b, real *out,
                          cb_index ldo);
typedef void half_columns_fn(cb_index K, const real *a, cb_index lda, const real *b, cb_index ldb,
                             const outcome *o);

#define ROWS_INSTANCE(MR)                                                                         \
    static void half_rows_##MR(cb_index K, const real *a, cb_index lda, const real *b, real *out, \
                               cb_index ldo)                                                      \
    {                                                                                             \
        half_rows_tile(MR, K, a, lda, b, out, ldo);                                               \
    }
#define COLUMNS_INSTANCE(MR)                                                              \
    static void half_columns_##MR(cb_index K, const real *a, cb_index lda, const real *b, \
                                  cb_index ldb, const outcome *o)                         \
    {                                                                                     \
        half_columns_tile(MR, K, a, lda, b, ldb, o);                                      \
    }
/* Of few rows the forward pass is few_rows.h's, and BP4 has two at least. */
#define EVERY_FROM_3(X) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12)
EVERY_FROM_3(ROWS_INSTANCE)
COLUMNS_INSTANCE(2)
EVERY_FROM_3(COLUMNS_INSTANCE)
#undef ROWS_INSTANCE
#undef COLUMNS_INSTANCE
#define ROWS_ENTRY(MR) half_rows_##MR,
#define COLUMNS_ENTRY(MR) half_columns_##MR,
static half_rows_fn *const half_rows_tiles[TILE_ROWS] = {NULL, NULL, EVERY_FROM_3(ROWS_ENTRY)};
static half_columns_fn *const half_columns_tiles[TILE_ROWS] = {
    NULL, COLUMNS_ENTRY(2) EVERY_FROM_3(COLUMNS_ENTRY)};
#undef ROWS_ENTRY
#undef COLUMNS_ENTRY
#undef EVERY_FROM_3
#endif

/* Whether so few outputs, of a block or left of it, are these tiles'. */
INLINE int half_will_do(cb_index cols)
{
#if defined(HALF_LANES)
    return cols <= HALF_LANES;
#else
    return (void)cols, 0;
#endif
}

/* Whether a block of cols outputs is one vector and at most half of another. */
INLINE int half_apart(cb_index cols)
{
#if defined(HALF_LANES)
    return cols > LANES && cols <= LANES + HALF_LANES;
#else
    return (void)cols, 0;
#endif
}
