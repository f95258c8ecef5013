/* sigma, sigma' and, for activations that are not element-wise, the product with their
 * Jacobian. One row of the switch an activation. Derivatives are written in terms of
 * a = sigma(z) where that is possible.
 */
INLINE int is_elementwise(int activation) { return activation != CB_SOFTMAX; }

INLINE vec sigma(int activation, vec z)
{
    switch (activation) {
    case CB_SIGMOID: return v_sigmoid(z);
    case CB_TANH: return v_tanh(z);
    case CB_RELU: return v_max((vec){0}, z); /* NaN stays NaN */
    default: return z;
    }
}

/* delta * sigma'(z) */
INLINE vec times_sigma_prime(int activation, vec delta, vec a)
{
    switch (activation) {
    case CB_SIGMOID: return delta * (a * ((real)1 - a));
    case CB_TANH: return delta * ((real)1 - a * a);
    case CB_RELU: return v_less((vec){0}, a, delta, (vec){0});
    default: return delta;
    }
}

/* a = sigma(z) over a tile; the loop stands inside the switch so that each activation has
 * one of its own. */
#define OVER_TILE(EXPRESSION)                      \
    for (cb_index r = 0; r < rows; r++)            \
        for (cb_index c = 0; c < vectors; c++) {   \
            const cb_index i = r * ld + c * LANES; \
            EXPRESSION;                            \
        }

static void activate_tile(int activation, const real *z, real *a, cb_index ld, cb_index rows,
                          cb_index vectors)
{
    switch (activation) {
    case CB_SIGMOID: OVER_TILE(v_store(a + i, sigma(CB_SIGMOID, v_load(z + i)))) break;
    case CB_TANH: OVER_TILE(v_store(a + i, sigma(CB_TANH, v_load(z + i)))) break;
    case CB_RELU: OVER_TILE(v_store(a + i, sigma(CB_RELU, v_load(z + i)))) break;
    case CB_IDENTITY:
        if (a != z)
            OVER_TILE(v_store(a + i, v_load(z + i)))
        break;
    default: break; /* not element-wise: complete_rows() */
    }
}

static void derivative_tile(int activation, const real *a, real *delta, cb_index ld, cb_index rows,
                            cb_index vectors)
{
    switch (activation) {
    case CB_SIGMOID:
        OVER_TILE(
            v_store(delta + i, times_sigma_prime(CB_SIGMOID, v_load(delta + i), v_load(a + i))))
        break;
    case CB_TANH:
        OVER_TILE(v_store(delta + i, times_sigma_prime(CB_TANH, v_load(delta + i), v_load(a + i))))
        break;
    case CB_RELU:
        OVER_TILE(v_store(delta + i, times_sigma_prime(CB_RELU, v_load(delta + i), v_load(a + i))))
        break;
    default: break;
    }
}
#undef OVER_TILE

/* sum of x[0 .. n) in a fixed order: 16 running sums, then a tree; x[n .. padded) is 0. */
static real row_sum(const real *x, cb_index n)
{
    real s[CB_PANEL] = {0};
    for (cb_index j = 0; j < n; j += CB_PANEL)
        for (int i = 0; i < CB_PANEL; i++)
            s[i] += x[j + i];
    for (int half = CB_PANEL / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++)
            s[i] += s[i + half];
    return s[0];
}

static real row_max(const real *x, cb_index n)
{
    static const real count[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    const vec lane = v_load(count), least = v_set((real)-INFINITY);
    vec top = least;
    for (cb_index j = 0; j < n; j += LANES)
        top = v_max(v_less(lane, v_set((real)(n - j)), v_load(x + j), least), top);
    real s[LANES];
    v_store(s, top);
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++)
            s[i] = s[i + half] > s[i] ? s[i + half] : s[i];
    return s[0];
}

/* a_j = exp(z_j - max z) / sum_k exp(z_k - max z) */
static void softmax_row(const real *z, real *a, cb_index n)
{
    const vec top = v_set(row_max(z, n));
    for (cb_index j = 0; j < n; j += LANES)
        v_store(a + j, v_exp(v_load(z + j) - top));
    for (cb_index j = n; j % CB_PANEL != 0; j++)
        a[j] = 0;
    const vec sum = v_set(row_sum(a, n));
    for (cb_index j = 0; j < n; j += LANES)
        v_store(a + j, v_load(a + j) / sum);
}

/* delta_j = sum_k g_k da_k/dz_j = a_j (g_j - sum_k g_k a_k), g in delta on entry. */
static void softmax_through_row(const real *a, real *delta, cb_index n)
{
    real s[CB_PANEL] = {0};
    for (cb_index j = 0; j < n; j++)
        s[j % CB_PANEL] += delta[j] * a[j];
    const vec dot = v_set(row_sum(s, CB_PANEL));
    for (cb_index j = 0; j < n; j += LANES)
        v_store(delta + j, v_load(a + j) * (v_load(delta + j) - dot));
}
