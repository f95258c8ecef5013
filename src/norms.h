/* Norms over a layer's errors, gradients and weights, in float64 and in an order that no division
 * of the work changes: a neuron's sum goes over its samples or inputs in their order.
 */
/* Up to a panel's neurons at a time, so that their sums stay in registers. */
INLINE void add_panel_squares(const real *delta, cb_index ld, cb_index rows, int cols, double *sums)
{
    double sum[CB_PANEL];
    for (int j = 0; j < cols; j++)
        sum[j] = sums[j];
    for (cb_index s = 0; s < rows; s++, delta += ld)
        for (int j = 0; j < cols; j++)
            sum[j] += (double)delta[j] * (double)delta[j];
    for (int j = 0; j < cols; j++)
        sums[j] = sum[j];
}

static void add_error_squares(const cb_layer *l, cb_index rows, cb_index col, cb_index cols,
                              double *sums)
{
    const real *delta = (const real *)l->delta + col;
    cb_index j = 0;
    for (; j + CB_PANEL <= cols; j += CB_PANEL)
        add_panel_squares(delta + j, l->ld_out, rows, CB_PANEL, sums + col + j);
    if (j < cols)
        add_panel_squares(delta + j, l->ld_out, rows, (int)(cols - j), sums + col + j);
}

static double gradient_squares(const cb_layer *l, cb_index panel, const cb_update *u)
{
    const cb_index stride = (l->n_in + 1) * CB_PANEL;
    const real *w = (const real *)l->w + panel * stride;
    real *sums = (real *)l->nabla + panel * stride;
    double square[CB_PANEL] = {0}, total = 0;
    for (cb_index r = 0; r <= l->n_in; r++) {
        const cb_index at = r * CB_PANEL;
        for (int i = 0; u->adjusts && i < CB_PANEL; i += LANES)
            v_store(sums + at + i,
                    adjusted(u, r == l->n_in, v_load(w + at + i), v_load(sums + at + i)));
        for (int i = 0; i < CB_PANEL; i++)
            square[i] += (double)sums[at + i] * (double)sums[at + i];
    }
    for (int i = 0; i < CB_PANEL; i++)
        total += square[i];
    return total;
}

static void limit_norms(const cb_layer *l, cb_index panel, double most)
{
    real *w = (real *)l->w + panel * (l->n_in + 1) * CB_PANEL, factor[CB_PANEL];
    double square[CB_PANEL] = {0};
    for (cb_index at = 0; at < l->n_in * CB_PANEL; at += CB_PANEL)
        for (int i = 0; i < CB_PANEL; i++)
            square[i] += (double)w[at + i] * (double)w[at + i];
    int any = 0;
    for (int i = 0; i < CB_PANEL; i++) {
        const int over = square[i] > most * most;
        factor[i] = over ? (real)(most / sqrt(square[i])) : 1;
        any |= over;
    }
    for (cb_index at = 0; any && at < l->n_in * CB_PANEL; at += CB_PANEL)
        for (int i = 0; i < CB_PANEL; i += LANES)
            v_store(w + at + i, v_load(w + at + i) * v_load(factor + i));
}
