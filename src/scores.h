/* How good the outputs are, besides their cost; and what a sample's error counts. */
/* Class of the largest output; the first one of equals. */
static cb_index arg_max(const real *x, cb_index n)
{
    cb_index best = 0;
    for (cb_index j = 1; j < n; j++)
        if (x[j] > x[best])
            best = j;
    return best;
}

static int same_side(const real *a, real threshold, const real *y, cb_index n)
{
    for (cb_index j = 0; j < n; j++)
        if ((a[j] >= threshold) != (y[j] >= (real)0.5))
            return 0;
    return 1;
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
