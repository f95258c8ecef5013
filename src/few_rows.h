/* The forward product of one or two samples. A tile of rows x 2 vectors would wait for its
 * own sums (an fma takes four cycles, two start in one): here up to eight vectors of neurons,
 * from as many panels, grow side by side. The order of every sum is that of tiles.h:
 *
 *     acc[r][v] = b[v] + sum_k a[r][k] * w[k][v],   k in order, one fma a step.
 */
#define MOST_VECTORS 8

INLINE void few_rows(const int MR, const int NV, cb_index K, const real *a, cb_index lda,
                     const real *const w[MOST_VECTORS], real *z, cb_index ldz)
{
    vec acc[CB_FEW_ROWS][MOST_VECTORS];
    UNROLL(8)
    for (int v = 0; v < NV; v++) {
        UNROLL(2)
        for (int r = 0; r < MR; r++)
            acc[r][v] = v_load(w[v] + K * CB_PANEL);
    }
    for (cb_index k = 0; k < K; k++) {
        const vec x0 = v_set(a[k]), x1 = MR > 1 ? v_set(a[lda + k]) : x0;
        UNROLL(8)
        for (int v = 0; v < NV; v++) {
            const vec wk = v_load(w[v] + k * CB_PANEL);
            acc[0][v] = v_fma(x0, wk, acc[0][v]);
            if (MR > 1)
                acc[1][v] = v_fma(x1, wk, acc[1][v]);
        }
    }
    UNROLL(8)
    for (int v = 0; v < NV; v++) {
        UNROLL(2)
        for (int r = 0; r < MR; r++)
            v_store(z + r * ldz + v * LANES, acc[r][v]);
    }
}

typedef void few_fn(cb_index K, const real *a, cb_index lda, const real *const w[MOST_VECTORS],
                    real *z, cb_index ldz);

#define INSTANCE(MR, NV)                                                                  \
    static void few_##MR##x##NV(cb_index K, const real *a, cb_index lda,                  \
                                const real *const w[MOST_VECTORS], real *z, cb_index ldz) \
    {                                                                                     \
        few_rows(MR, NV, K, a, lda, w, z, ldz);                                           \
    }
#define EVERY(X, MR) X(MR, 1) X(MR, 2) X(MR, 3) X(MR, 4) X(MR, 5) X(MR, 6) X(MR, 7) X(MR, 8)
EVERY(INSTANCE, 1)
EVERY(INSTANCE, 2)
#undef INSTANCE
#define ENTRY(MR, NV) few_##MR##x##NV,
static few_fn *const few_tiles[CB_FEW_ROWS][MOST_VECTORS] = {{EVERY(ENTRY, 1)}, {EVERY(ENTRY, 2)}};
#undef ENTRY
#undef EVERY

/* z = b + a_in w^T for `vectors` vectors of neurons, stride elements from panel to panel. */
static void weighted_few(cb_index K, const real *a_in, cb_index lda, const real *w, cb_index stride,
                         cb_index rows, cb_index vectors, real *z, cb_index ldz)
{
    for (cb_index v = 0; v < vectors; v += MOST_VECTORS) {
        const cb_index n = vectors - v < MOST_VECTORS ? vectors - v : MOST_VECTORS;
        const real *column[MOST_VECTORS];
        for (cb_index i = 0; i < n; i++)
            column[i] = PANEL_COLUMN(w, (v + i) * LANES, stride);
        few_tiles[rows - 1][n - 1](K, a_in, lda, column, z + v * LANES, ldz);
    }
}
#undef MOST_VECTORS
