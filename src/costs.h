/* Costs of one sample: C(a, y), dC/da and the output error of the stable pairs. Values are
 * summed in float64, 16 running sums and a tree, so that the order never depends on the
 * vector width. Rows are padded: a[n ..), y[n ..) may be read, never counted.
 */

/* a kept off 0 and 1, where log and 1/a have no value. */
INLINE vec off_zero(vec a) { return v_max(a, v_set(REAL_TINY)); }

/* At most FEW numbers of a row at once, in float64. */
#define FEW 4
typedef double few __attribute__((vector_size(FEW * sizeof(double))));
typedef int64_t few_bits __attribute__((vector_size(FEW * sizeof(double))));
typedef real few_reals
    __attribute__((vector_size(FEW * sizeof(real)), aligned(sizeof(real)), may_alias));

/* The first n of x, 0 in the others. */
INLINE few first_few(cb_index n, few x)
{
    const few_bits lane = {0, 1, 2, 3}, counts = lane < (int64_t)n - (few_bits){0};
    return (few)((few_bits)x & counts);
}

/* Sums in float64, number j of a row in that of j modulo CB_PANEL. */
typedef struct sums {
    few s[CB_PANEL / FEW];
} sums;

INLINE double sum_of(const sums *s)
{
    const few x = (s->s[0] + s->s[2]) + (s->s[1] + s->s[3]);
    return (x[0] + x[2]) + (x[1] + x[3]);
}

INLINE few squares(const real *a, const real *y)
{
    const few d = __builtin_convertvector(*(const few_reals *)a, few) -
                  __builtin_convertvector(*(const few_reals *)y, few);
    return d * d;
}

/* 1/2 ||a - y||^2 */
static double quadratic_value(const real *a, const real *y, cb_index n)
{
    sums s = {{{0}}};
    cb_index j = 0;
    for (; j + CB_PANEL <= n; j += CB_PANEL)
        for (int i = 0; i < CB_PANEL / FEW; i++)
            s.s[i] += squares(a + j + i * FEW, y + j + i * FEW);
    for (int i = 0; j < n; j += FEW, i++)
        s.s[i] += first_few(n - j, squares(a + j, y + j));
    return 0.5 * sum_of(&s);
}

/* What quadratic_value() says of n <= FEW outputs, in the order of its sums. */
static void few_quadratic_values(const real *a, const real *y, cb_index n, cb_index ld,
                                 cb_index row, cb_index rows, double *values)
{
    for (cb_index s = row; s < row + rows; s++) {
        const few square = first_few(n, squares(a + s * ld, y + s * ld));
        values[s] = 0.5 * ((square[0] + square[2]) + (square[1] + square[3]));
    }
}

/* The terms of one vector of outputs, each a cost to be summed. */
INLINE vec cross_entropy_terms(int from_z, vec z, vec a, vec y)
{
    if (from_z) /* a = sigmoid(z): max(z, 0) - y z + log(1 + exp(-|z|)) */
        return v_max(z, (vec){0}) - y * z + v_log1p_unit(v_exp(-v_abs(z)));
    const vec one = v_set((real)1);
    const vec rest = v_max(one - a, v_set(REAL_EPSILON / 2));
    return -(y * v_log(off_zero(a)) + (one - y) * v_log(rest));
}

INLINE vec log_likelihood_terms(int from_z, vec z, vec a, vec y, vec log_sum)
{
    /* a = softmax(z): -log a_j = log sum_k exp(z_k - max) - (z_j - max) */
    const vec minus_log = from_z ? log_sum - z : -v_log(off_zero(a));
    return y * minus_log;
}

INLINE vec poisson_terms(int from_z, vec z, vec a, vec y)
{
    return a - y * (from_z ? z : v_log(off_zero(a))); /* a = exp(z): ln a = z */
}

/* log sum_k exp(z_k) of up to LANES rows, a lane for each */
static vec log_sums_exp(const real *z, cb_index n, cb_index ld, cb_index rows)
{
    real tops[LANES] = {0}, totals[LANES] = {0};
    for (cb_index r = 0; r < rows; r++, z += ld) {
        const vec top = v_set(row_max(z, n));
        vec s[CB_PANEL / LANES] = {{0}};
        for (cb_index j = 0; j < n; j += CB_PANEL)
            for (int i = 0; i < CB_PANEL / LANES; i++) {
                const cb_index at = j + i * LANES;
                s[i] += v_first(n - at, v_exp(v_load(z + at) - top));
            }
        tops[r] = top[0];
        totals[r] = v_sum(s);
    }
    return v_log(v_load(totals)) + v_load(tops);
}

/* The costs that need nothing but a and y. */
INLINE vec cost_terms(int cost, vec parameter, vec a, vec y)
{
    const vec zero = {0}, one = v_set((real)1), half = v_set((real)0.5);
    const vec d = a - y, size = v_abs(d);
    switch (cost) {
    case CB_ABSOLUTE: return size;
    case CB_HUBER:
        return v_less(size, parameter, half * d * d, parameter * (size - half * parameter));
    case CB_LOG_COSH:
        return size + (v_log1p_unit(v_exp((real)-2 * size)) - v_set((real)0.69314718055994530942));
    case CB_QUANTILE: return v_max((parameter - one) * -d, parameter * -d);
    default: { /* CB_HINGE, CB_SQUARED_HINGE */
        const vec margin = v_max(zero, one - (y + y - one) * a);
        return cost == CB_HINGE ? margin : margin * margin;
    }
    }
}

/* Whether the cost is reckoned from z, as the output error of the pair is a - y. */
static int is_from_z(int cost, int activation)
{
    return activation == (cost == CB_LOG_LIKELIHOOD ? CB_SOFTMAX
                          : cost == CB_POISSON      ? CB_EXP
                                                    : CB_SIGMOID);
}

static double terms_value(const cb_cost_function *c, const int from_z, const real *z, const real *a,
                          const real *y, cb_index n, vec log_sum)
{
    const int likelihood = c->code == CB_LOG_LIKELIHOOD, entropy = c->code == CB_CROSS_ENTROPY;
    const int poisson = c->code == CB_POISSON;
    const vec parameter = v_set((real)c->parameter);
    sums s = {{{0}}};
    for (cb_index j = 0; j < n; j += CB_PANEL) {
        real terms[CB_PANEL] = {0};
        for (cb_index k = j; k < n && k < j + CB_PANEL; k += LANES) {
            const vec zk = v_load(z + k), ak = v_load(a + k), yk = v_load(y + k);
            const vec x = likelihood ? log_likelihood_terms(from_z, zk, ak, yk, log_sum)
                          : entropy  ? cross_entropy_terms(from_z, zk, ak, yk)
                          : poisson  ? poisson_terms(from_z, zk, ak, yk)
                                     : cost_terms(c->code, parameter, ak, yk);
            v_store(terms + k - j, v_first(n - k, x));
        }
        for (int i = 0; i < CB_PANEL / FEW; i++)
            s.s[i] += __builtin_convertvector(*(const few_reals *)(terms + i * FEW), few);
    }
    return sum_of(&s);
}

static void terms_values(const cb_cost_function *c, const cb_layer *l, const real *y, cb_index row,
                         cb_index rows, double *values)
{
    const cb_index n = l->n_out, ld = l->ld_out;
    const int from_z = is_from_z(c->code, l->activation);
    for (cb_index first = row; first < row + rows; first += LANES) {
        const cb_index some = row + rows - first < LANES ? row + rows - first : LANES;
        const real *z = (const real *)l->z + first * ld, *a = (const real *)l->a + first * ld;
        real log_sum[LANES] = {0};
        if (from_z && c->code == CB_LOG_LIKELIHOOD)
            v_store(log_sum, log_sums_exp(z, n, ld, some));
        for (cb_index s = 0; s < some; s++)
            values[first + s] = terms_value(c, from_z, z + s * ld, a + s * ld, y + (first + s) * ld,
                                            n, v_set(log_sum[s]));
    }
}

/* dC/da of one vector of outputs, but of the quadratic cost; 0 at the kink of one that has it. */
INLINE vec cost_slope(int cost, vec parameter, vec a, vec y)
{
    const vec zero = {0}, one = v_set((real)1), d = a - y;
    switch (cost) {
    case CB_CROSS_ENTROPY:
        return (one - y) / v_max(one - a, v_set(REAL_EPSILON / 2)) - y / off_zero(a);
    case CB_LOG_LIKELIHOOD: return -y / off_zero(a);
    case CB_ABSOLUTE: return v_with_sign(one, d);
    case CB_HUBER: return v_less(parameter, d, parameter, v_less(d, -parameter, -parameter, d));
    case CB_LOG_COSH: return v_tanh(d);
    case CB_QUANTILE: return v_less(zero, d, one - parameter, v_less(d, zero, -parameter, d));
    case CB_POISSON: return one - y / off_zero(a);
    default: { /* CB_HINGE, CB_SQUARED_HINGE */
        const vec t = y + y - one, margin = one - t * a;
        const vec slope = cost == CB_HINGE ? -t : (real)-2 * t * margin;
        return v_less(zero, margin, slope, zero * margin); /* NaN stays NaN */
    }
    }
}
