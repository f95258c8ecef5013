/* A mini-batch's rows on their way from the user's arrays: a^0, and the targets. */
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

/* One row as it comes, contiguous or strided; a loop for each type. What is contiguous and of the
 * network's precision is not converted. */
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
        if (CB_BITS != 32 && stride == sizeof(float))
            for (cb_index k = 0; k < n; k++)
                out[k] = (real)((const float *)p)[k];
        else
            for (cb_index k = 0; k < n; k++)
                out[k] = source_value(p + k * stride, CB_FLOAT32);
        break;
    default:
        if (CB_BITS != 64 && stride == sizeof(double))
            for (cb_index k = 0; k < n; k++)
                out[k] = (real)((const double *)p)[k];
        else
            for (cb_index k = 0; k < n; k++)
                out[k] = source_value(p + k * stride, CB_FLOAT64);
    }
}

/* to[0 .. width) = from scale + shift, 0 up to the next whole vector. v - v is 0, or NaN where
 * v is not finite: summed into *bad, four sums side by side, as one would be a chain of
 * dependent additions. `from` may be `to`. */
INLINE void scale_row(const cb_rows *x, const int scaled, const real *from, real *to, vec *bad)
{
    const real *scale = x->scale, *shift = x->shift;
    const cb_index n = x->width, whole = n - n % LANES;
    vec sums[4] = {{0}, {0}, {0}, {0}};
    cb_index k = 0;
    for (; k + 4 * LANES <= whole; k += 4 * LANES) {
        UNROLL(4)
        for (int i = 0; i < 4; i++) {
            vec v = v_load(from + k + i * LANES);
            if (scaled)
                v = v_fma(v, v_load(scale + k + i * LANES), v_load(shift + k + i * LANES));
            sums[i] += v - v;
            v_store(to + k + i * LANES, v);
        }
    }
    for (; k < n; k += LANES) {
        const int all = n - k >= LANES;
        vec v = all ? v_load(from + k) : v_load_first(n - k, from + k);
        if (scaled)
            v = all ? v_fma(v, v_load(scale + k), v_load(shift + k))
                    : v_fma(v, v_load_first(n - k, scale + k), v_load_first(n - k, shift + k));
        sums[0] += v - v;
        v_store(to + k, v);
    }
    *bad += (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

/* gather() where a row fits one vector and needs no conversion: the bias is put in by its bits,
 * which leaves a -0 as it is, and no row waits for the one before. */
INLINE void gather_narrow(const cb_rows *x, const int64_t *index, cb_index row, cb_index rows,
                          const int scaled, real *out, cb_index ld, vec *bad)
{
    const cb_index n = x->width;
    const vec scale = scaled ? v_load_first(n, x->scale) : (vec){0};
    const vec shift = scaled ? v_load_first(n, x->shift) : (vec){0};
    real last[CB_PANEL] = {0};
    last[n] = (real)x->bias;
    const ivec bias = v_bits(v_load(last));
    for (cb_index s = row; s < row + rows; s++) {
        const cb_index i = index ? (cb_index)index[s] : s;
        vec v = v_load_first(n, (const real *)((const char *)x->data + i * x->row_stride));
        if (scaled)
            v = v_fma(v, scale, shift);
        *bad += v - v;
        v_store(out + s * ld, v_from_bits(v_bits(v) | bias));
        for (cb_index k = LANES; LANES < CB_PANEL && k < ld; k += LANES)
            v_store(out + s * ld + k, (vec){0});
    }
}

static void gather(const cb_rows *x, const int64_t *index, cb_index row, cb_index rows, void *out,
                   cb_index ld, int *non_finite)
{
    const cb_index n = x->width, padded = (n + LANES - 1) / LANES * LANES;
    const int as_is =
        x->type == (CB_BITS == 32 ? CB_FLOAT32 : CB_FLOAT64) && x->column_stride == sizeof(real);
    vec bad = {0};
    if (as_is && n < LANES) {
        if (x->scale)
            gather_narrow(x, index, row, rows, 1, out, ld, &bad);
        else
            gather_narrow(x, index, row, rows, 0, out, ld, &bad);
        set_not_finite(non_finite, bad);
        return;
    }
    for (cb_index s = row; s < row + rows; s++) {
        const cb_index i = index ? (cb_index)index[s] : s;
        const char *from = (const char *)x->data + i * x->row_stride;
        real *to = (real *)out + s * ld;
        const real *values = to;
        if (as_is)
            values = (const real *)from;
        else
            convert_row(from, x->column_stride, x->type, n, to);
        if (x->scale)
            scale_row(x, 1, values, to, &bad);
        else
            scale_row(x, 0, values, to, &bad);
        for (cb_index k = padded; k < ld; k += LANES)
            v_store(to + k, (vec){0});
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
