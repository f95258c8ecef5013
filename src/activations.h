/* sigma, sigma' and, for activations that are not element-wise, the product with their
 * Jacobian. One row in each of three places an activation: EVERY_CURVED, sigma and
 * times_sigma_prime. Derivatives are written in terms of a = sigma(z) where that is possible;
 * cb_needs_z (kernels.h) names those that want z.
 */
/* clang-format off */
#define EVERY_CURVED(X)                                                            \
    X(CB_SIGMOID) X(CB_TANH) X(CB_RELU) X(CB_LEAKY_RELU) X(CB_ELU)  \
    X(CB_SELU) X(CB_SOFTPLUS) X(CB_SILU) X(CB_GELU) X(CB_SOFTSIGN) X(CB_HARD_TANH) \
    X(CB_SINE) X(CB_EXP)
/* clang-format on */

/* G. Klambauer et al., Self-Normalizing Neural Networks, 2017 */
#define SELU_SCALE ((real)1.0507009873554804934193349852946)
#define SELU_ALPHA ((real)1.6732632423543772848170429916717)

/* alpha is the activation's parameter, where it has one. */
INLINE vec sigma(int activation, vec alpha, vec z)
{
    const vec zero = {0}, one = v_set((real)1);
    vec bell;
    switch (activation) {
    case CB_SIGMOID: return v_sigmoid(z);
    case CB_TANH: return v_tanh(z);
    case CB_RELU: return v_max(zero, z); /* NaN stays NaN */
    case CB_LEAKY_RELU: return v_less(zero, z, z, alpha * z);
    case CB_ELU: return v_less(zero, z, z, alpha * v_expm1_of_negative(z));
    case CB_SELU:
        return v_set(SELU_SCALE) * v_less(zero, z, z, v_set(SELU_ALPHA) * v_expm1_of_negative(z));
    case CB_SOFTPLUS: return v_max(zero, z) + v_log1p_unit(v_exp(-v_abs(z)));
    case CB_SILU: return z * v_sigmoid(z);
    case CB_GELU: return z * v_normal(z, &bell);
    case CB_SOFTSIGN: return z / (one + v_abs(z));
    case CB_HARD_TANH: return v_less(one, z, one, v_less(z, -one, -one, z));
    case CB_SINE: return v_sin(z);
    case CB_EXP: return v_exp(z);
    default: return z;
    }
}

/* delta * sigma'(z). At a kink: of relu and its kin the derivative from the left, of hard_tanh
 * 0. */
INLINE vec times_sigma_prime(int activation, vec alpha, vec delta, vec z, vec a)
{
    const vec zero = {0}, one = v_set((real)1);
    vec bell, s;
    switch (activation) {
    case CB_SIGMOID: return delta * (a * (one - a));
    case CB_TANH: return delta * (one - a * a);
    case CB_RELU: return v_less(zero, a, delta, zero);
    case CB_LEAKY_RELU: return v_less(zero, a, delta, alpha * delta);
    case CB_ELU: return v_less(zero, a, delta, delta * (a + alpha));
    case CB_SELU:
        return delta * v_less(zero, a, v_set(SELU_SCALE), a + v_set(SELU_SCALE * SELU_ALPHA));
    case CB_SOFTPLUS: return delta * -v_expm1_of_negative(-a);
    case CB_SILU: s = v_sigmoid(z); return delta * v_fma(a, one - s, s);
    case CB_GELU: s = v_normal(z, &bell); return delta * v_fma(z * v_set(DENSITY), bell, s);
    case CB_SOFTSIGN: s = one - v_abs(a); return delta * (s * s);
    case CB_HARD_TANH: return v_less(v_abs(a), one, delta, zero);
    case CB_SINE: return delta * v_cos(z);
    case CB_EXP: return delta * a;
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

static void activate_tile(const cb_layer *l, const real *z, real *a, cb_index rows,
                          cb_index vectors)
{
    const cb_index ld = l->ld_out;
    const vec alpha = v_set((real)l->alpha);
    if (l->activation == CB_IDENTITY && a == z)
        return;
    switch (l->activation) {
#define ROW(SIGMA) \
    case SIGMA: OVER_TILE(v_store(a + i, sigma(SIGMA, alpha, v_load(z + i)))) break;
        ROW(CB_IDENTITY)
        EVERY_CURVED(ROW)
#undef ROW
    default: break; /* not element-wise: complete_rows() */
    }
}

static void derivative_tile(const cb_layer *l, cb_index at, cb_index rows, cb_index vectors)
{
    const cb_index ld = l->ld_out;
    const real *z = (const real *)l->z + at, *a = (const real *)l->a + at;
    real *delta = (real *)l->delta + at;
    const vec alpha = v_set((real)l->alpha);
    switch (l->activation) {
#define ROW(SIGMA)                                                                      \
    case SIGMA:                                                                         \
        OVER_TILE(v_store(delta + i, times_sigma_prime(SIGMA, alpha, v_load(delta + i), \
                                                       v_load(z + i), v_load(a + i))))  \
        break;
        EVERY_CURVED(ROW)
#undef ROW
    default: break; /* identity: sigma' = 1; not element-wise: through_activation() */
    }
}
#undef OVER_TILE

/* sum of x[0 .. n) in a fixed order: 16 running sums, then halves; x[n .. padded) is 0. */
static real row_sum(const real *x, cb_index n)
{
    vec s[CB_PANEL / LANES] = {{0}};
    for (cb_index j = 0; j < n; j += CB_PANEL)
        for (int i = 0; i < CB_PANEL / LANES; i++)
            s[i] += v_load(x + j + i * LANES);
    return v_sum(s);
}

/* NaN is less than every number. */
static real row_max(const real *x, cb_index n)
{
    const vec least = v_set((real)-INFINITY);
    vec top = least;
    cb_index j = 0;
    for (; j + LANES <= n; j += LANES)
        top = v_max(v_load(x + j), top);
    if (j < n)
        top = v_max(v_less(v_lanes(), v_set((real)(n - j)), v_load(x + j), least), top);
    return v_largest(top);
}

/* a_j = exp(z_j - max z) / sum_k exp(z_k - max z) */
static void softmax_row(const real *z, real *a, cb_index n)
{
    const vec top = v_set(row_max(z, n));
    for (cb_index j = 0; j < n; j += LANES)
        v_store(a + j, v_exp(v_load(z + j) - top));
    clear_rest(a, n, (n + CB_PANEL - 1) / CB_PANEL * CB_PANEL);
    const vec sum = v_set(row_sum(a, n));
    for (cb_index j = 0; j < n; j += LANES)
        v_store(a + j, v_load(a + j) / sum);
}

/* delta_j = sum_k g_k da_k/dz_j = a_j (g_j - sum_k g_k a_k), g in delta on entry. */
static void softmax_through_row(const real *a, real *delta, cb_index n)
{
    vec s[CB_PANEL / LANES] = {{0}};
    for (cb_index j = 0; j < n; j += CB_PANEL)
        for (int i = 0; i < CB_PANEL / LANES; i++) {
            const cb_index at = j + i * LANES;
            s[i] += v_first(n - at, v_load(delta + at) * v_load(a + at));
        }
    const vec dot = v_set(v_sum(s));
    for (cb_index j = 0; j < n; j += LANES)
        v_store(delta + j, v_load(a + j) * (v_load(delta + j) - dot));
}
