/* How good the outputs are, besides their cost; and what a sample's error counts. */
/* Class of the largest output; the first one of equals, and where the first is NaN, that one. */
static cb_index arg_max(const real *x, cb_index n)
{
    if (n <= 4 * CB_PANEL || x[0] != x[0]) {
        cb_index best = 0;
        for (cb_index j = 1; j < n; j++)
            if (x[j] > x[best])
                best = j;
        return best;
    }
    /* Of each lane the largest and the first block that has it, carried as bits. */
    const vec least = v_set((real)-INFINITY);
    vec top = least, at = {0};
    for (cb_index j = 0; j < n; j += LANES) {
        const vec xj = n - j >= LANES
                           ? v_load(x + j)
                           : v_less(v_lanes(), v_set((real)(n - j)), v_load(x + j), least);
        at = v_less(top, xj, v_from_bits((ireal)j - (ivec){0}), at);
        top = v_max(xj, top);
    }
    const real largest = v_largest(top);
    real tops[LANES];
    ireal blocks[LANES];
    v_store(tops, top);
    __builtin_memcpy(blocks, &at, sizeof blocks);
    ireal best = (ireal)n;
    UNROLL(16)
    for (int i = 0; i < LANES; i++) {
        const ireal candidate = tops[i] == largest ? blocks[i] + (ireal)i : (ireal)n;
        best = candidate < best ? candidate : best;
    }
    return best;
}

static int same_side(const real *a, real threshold, const real *y, cb_index n)
{
    const vec half = v_set((real)0.5), level = v_set(threshold);
    vec apart = {0};
    for (cb_index j = 0; j < n; j += LANES) {
        const ivec differ = (ivec)(v_load(a + j) >= level) ^ (ivec)(v_load(y + j) >= half);
        apart = v_max(v_first(n - j, v_from_bits(differ & v_bits(v_set((real)1)))), apart);
    }
    return v_largest(apart) == 0;
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
        values[s] = kind == CB_ARGMAX ? arg_max(a, n) == arg_max(t, n)
                                      : same_side(a, kind == CB_SUBSET ? (real)0.5 : (real)0, t, n);
    }
}

static void add_squares(const cb_layer *l, const void *y, const double *weights,
                        const int64_t *index, cb_index rows, cb_index col, cb_index cols,
                        double *sums)
{
    const cb_index ld = l->ld_out;
    for (cb_index j = col; j < col + cols; j += FEW) { /* some outputs' sums stay in registers */
        const cb_index n = col + cols - j < FEW ? col + cols - j : FEW;
        const cb_index at = j + FEW <= ld ? j : ld - FEW; /* no more than the row is read */
        const real *a = (const real *)l->a + at, *t = (const real *)y + at;
        few sum = {0};
        for (cb_index k = 0; k < n; k++)
            sum[j - at + k] = sums[j + k];
        for (cb_index s = 0; s < rows; s++) {
            const double weight = weights ? weights[index[s]] : 1;
            if (weight == 0)
                continue;
            sum += weight * squares(a + s * ld, t + s * ld);
        }
        for (cb_index k = 0; k < n; k++)
            sums[j + k] = sum[j - at + k];
    }
}
