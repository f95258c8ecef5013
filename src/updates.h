/* Optimisers: how the sums of BP3 and BP4 change w, one function a rule. Definitions are
 * PyTorch's. In each, w is the weight after its decay, s the sum over the mini-batch after
 * penalties and clipping, g = s / m the gradient, p what the optimiser remembers.
 *
 * Element by element, so no division of the work changes a bit. Lanes of padding have s = 0
 * and p = 0 (Rprop: the first step): w stays 0 there.
 */
typedef struct constants {
    vec rate, per_sample, beta1, rest1, beta2, rest2, eps, root, ahead, low, high;
} constants;

/* w - eta g, with rate = eta / m: what tiles.h does with sums in registers. */
INLINE vec sgd(const constants *c, vec w, vec s, vec *p)
{
    (void)p;
    return v_fma(-c->rate, s, w);
}

/* v = mu v + g;  w - eta v */
INLINE vec momentum(const constants *c, vec w, vec s, vec *p)
{
    p[0] = v_fma(c->beta1, p[0], s * c->per_sample);
    return v_fma(-c->rate, p[0], w);
}

/* v = mu v + g;  w - eta (g + mu v) */
INLINE vec nesterov(const constants *c, vec w, vec s, vec *p)
{
    const vec g = s * c->per_sample;
    p[0] = v_fma(c->beta1, p[0], g);
    return v_fma(-c->rate, v_fma(c->beta1, p[0], g), w);
}

/* h = h + g^2;  w - eta_t g / (sqrt h + eps) */
INLINE vec adagrad(const constants *c, vec w, vec s, vec *p)
{
    const vec g = s * c->per_sample;
    p[0] = v_fma(g, g, p[0]);
    return v_fma(-c->rate, v_quotient(g, v_sqrt(p[0]) + c->eps), w);
}

/* h = alpha h + (1 - alpha) g^2;  w - eta g / (sqrt h + eps) */
INLINE vec rmsprop(const constants *c, vec w, vec s, vec *p)
{
    const vec g = s * c->per_sample;
    p[0] = v_fma(c->beta2, p[0], c->rest2 * (g * g));
    return v_fma(-c->rate, v_quotient(g, v_sqrt(p[0]) + c->eps), w);
}

/* v = beta1 v + (1 - beta1) g;  h = beta2 h + (1 - beta2) g^2;
 * w - rate v / (sqrt(h) root + eps), rate = eta / (1 - beta1^t), root = 1/sqrt(1 - beta2^t) */
INLINE vec adam(const constants *c, vec w, vec s, vec *p)
{
    const vec g = s * c->per_sample;
    p[0] = v_fma(c->beta1, p[0], c->rest1 * g);
    p[1] = v_fma(c->beta2, p[1], c->rest2 * (g * g));
    return v_fma(-c->rate, v_quotient(p[0], v_fma(v_sqrt(p[1]), c->root, c->eps)), w);
}

/* Adam with the largest h so far under the root. */
INLINE vec amsgrad(const constants *c, vec w, vec s, vec *p)
{
    const vec g = s * c->per_sample;
    p[0] = v_fma(c->beta1, p[0], c->rest1 * g);
    p[1] = v_fma(c->beta2, p[1], c->rest2 * (g * g));
    p[2] = v_max(p[2], p[1]);
    return v_fma(-c->rate, v_quotient(p[0], v_fma(v_sqrt(p[2]), c->root, c->eps)), w);
}

/* Adam's v and h;  w - (ahead g + rate v) / (sqrt(h) root + eps) */
INLINE vec nadam(const constants *c, vec w, vec s, vec *p)
{
    const vec g = s * c->per_sample;
    p[0] = v_fma(c->beta1, p[0], c->rest1 * g);
    p[1] = v_fma(c->beta2, p[1], c->rest2 * (g * g));
    const vec step = v_fma(c->rate, p[0], c->ahead * g);
    return w - v_quotient(step, v_fma(v_sqrt(p[1]), c->root, c->eps));
}

/* w - eta sgn(beta1 v + (1 - beta1) g);  v = beta2 v + (1 - beta2) g */
INLINE vec lion(const constants *c, vec w, vec s, vec *p)
{
    const vec g = s * c->per_sample;
    const vec direction = v_fma(c->beta1, p[0], c->rest1 * g);
    p[0] = v_fma(c->beta2, p[0], c->rest2 * g);
    return w - v_with_sign(c->rate, direction);
}

/* A step of its own for each weight: times beta2 where g has kept its sign, times beta1 and not
 * taken where g has turned. p[0] is the last g, p[1] the step. */
INLINE vec rprop(const constants *c, vec w, vec s, vec *p)
{
    const vec zero = {0}, one = v_set((real)1);
    const vec g = s * c->per_sample, turn = v_with_sign(one, g) * v_with_sign(one, p[0]);
    const vec factor = v_less(zero, turn, c->beta2, v_less(turn, zero, c->beta1, one));
    p[1] = v_min(v_max(p[1] * factor, c->low), c->high);
    p[0] = v_less(turn, zero, zero, g);
    return w - v_with_sign(p[1], p[0]);
}

/* sum + l2 w + l1 sgn w, then kept within the clip. */
INLINE vec adjusted(const cb_update *u, int is_bias, vec w, vec s)
{
    const vec clip = v_set((real)u->clip);
    if (!is_bias)
        s = v_fma(v_set((real)u->l2), w, s) + v_with_sign(v_set((real)u->l1), w);
    return v_less(clip, s, clip, v_less(s, -clip, -clip, s));
}

INLINE constants constants_of(const cb_update *u)
{
    return (constants){
        .rate = v_set((real)u->rate),
        .per_sample = v_set((real)u->per_sample),
        .beta1 = v_set((real)u->beta1),
        .rest1 = v_set((real)u->rest1),
        .beta2 = v_set((real)u->beta2),
        .rest2 = v_set((real)u->rest2),
        .eps = v_set((real)u->eps),
        .root = v_set((real)u->root),
        .ahead = v_set((real)u->ahead),
        .low = v_set((real)u->low),
        .high = v_set((real)u->high),
    };
}

/* The rule for `rows` vectors of w, one below the other from element `at`; sums alike. */
#define APPLY(RULE, PLANES)                                                                   \
    static void apply_##RULE(const cb_layer *l, cb_index at, cb_index rows, const real *sums, \
                             int bias_row, const cb_update *u)                                \
    {                                                                                         \
        const constants c = constants_of(u);                                                  \
        const vec decay = v_set((real)u->decay);                                              \
        const vec bias_decay = v_set((real)u->bias_decay);                                    \
        const int adjusts = u->adjusts;                                                       \
        real *w = (real *)l->w + at, *plane[3] = {0};                                         \
        for (int k = 0; k < PLANES; k++)                                                      \
            plane[k] = (real *)((char *)l->state + k * l->plane) + at;                        \
        for (cb_index r = 0, i = 0; r < rows; r++, i += CB_PANEL) {                           \
            vec p[3] = {0}, s = v_load(sums + i), x = v_load(w + i);                          \
            for (int k = 0; k < PLANES; k++)                                                  \
                p[k] = v_load(plane[k] + i);                                                  \
            if (adjusts)                                                                      \
                s = adjusted(u, r == bias_row, x, s);                                         \
            v_store(w + i, RULE(&c, x * (r == bias_row ? bias_decay : decay), s, p));         \
            for (int k = 0; k < PLANES; k++)                                                  \
                v_store(plane[k] + i, p[k]);                                                  \
        }                                                                                     \
    }
APPLY(sgd, 0)
APPLY(momentum, 1)
APPLY(nesterov, 1)
APPLY(adagrad, 1)
APPLY(rmsprop, 1)
APPLY(adam, 2)
APPLY(amsgrad, 3)
APPLY(nadam, 2)
APPLY(lion, 1)
APPLY(rprop, 2)
#undef APPLY

static void apply_rule(const cb_layer *l, cb_index at, cb_index rows, const real *sums,
                       int bias_row, const cb_update *u)
{
    switch (u->rule) {
    case CB_SGD:
    case CB_SGD_ADJUSTED: apply_sgd(l, at, rows, sums, bias_row, u); break;
    case CB_MOMENTUM: apply_momentum(l, at, rows, sums, bias_row, u); break;
    case CB_NESTEROV: apply_nesterov(l, at, rows, sums, bias_row, u); break;
    case CB_ADAGRAD: apply_adagrad(l, at, rows, sums, bias_row, u); break;
    case CB_RMSPROP: apply_rmsprop(l, at, rows, sums, bias_row, u); break;
    case CB_ADAM: apply_adam(l, at, rows, sums, bias_row, u); break;
    case CB_AMSGRAD: apply_amsgrad(l, at, rows, sums, bias_row, u); break;
    case CB_NADAM: apply_nadam(l, at, rows, sums, bias_row, u); break;
    case CB_LION: apply_lion(l, at, rows, sums, bias_row, u); break;
    default: apply_rprop(l, at, rows, sums, bias_row, u); /* CB_RPROP */
    }
}

/* The state of a tile's weights, wanted after the sums. */
INLINE void ask_for_state(const cb_layer *l, cb_index at0, cb_index at1, cb_index rows)
{
    for (int k = 0; k < l->planes; k++) {
        const real *plane = (const real *)((const char *)l->state + k * l->plane);
        for (cb_index r = 0; r < rows; r++) {
            __builtin_prefetch(plane + at0 + r * CB_PANEL, 1);
            __builtin_prefetch(plane + at1 + r * CB_PANEL, 1);
        }
    }
}
