/* What the gate asks of targets, in one walk over the user's matrix. */
#ifndef CBACKPROP_TARGETS_H
#define CBACKPROP_TARGETS_H

#include "kernels.h"

typedef struct cb_targets {
    int fit;     /* all are finite in the network's precision and from low to high */
    int binary;  /* all are 0 or 1 */
    int one_hot; /* and one in each row is 1 */
} cb_targets;

static inline double cb_element(const cb_rows *y, cb_index s, cb_index j)
{
    const char *p = (const char *)y->data + s * y->row_stride + j * y->column_stride;
    switch (y->type) {
    case CB_UINT8: return (double)*(const uint8_t *)p;
    case CB_FLOAT32: return (double)*(const float *)p;
    default: return *(const double *)p;
    }
}

enum { CB_SOME = 16 }; /* elements of a row at a time, side by side */

/* CB_SOME elements of row s from column j on, in float64. */
static inline void cb_some(const cb_rows *y, cb_index s, cb_index j, double to[CB_SOME])
{
    const char *p = (const char *)y->data + s * y->row_stride + j * y->column_stride;
    if (y->type == CB_FLOAT32 && y->column_stride == (cb_index)sizeof(float))
        for (int i = 0; i < CB_SOME; i++)
            to[i] = (double)((const float *)p)[i];
    else
        for (int i = 0; i < CB_SOME; i++)
            to[i] = cb_element(y, s, j + i);
}

typedef double cb_two __attribute__((vector_size(16)));
typedef float cb_two_floats __attribute__((vector_size(8)));
typedef int64_t cb_two_bits __attribute__((vector_size(16)));
enum { CB_PAIRS = CB_SOME / 2 };

typedef struct cb_look {
    double low, high;
    int bits;
    int misfit, other, uneven;
    cb_two_bits unfit[CB_PAIRS], odd[CB_PAIRS]; /* the same two, of wide rows */
} cb_look;

/* Elements of row s from column j on: how many are 1. */
static inline cb_index cb_look_at_rest(cb_look *l, const cb_rows *y, cb_index s, cb_index j)
{
    cb_index ones = 0;
    int misfit = 0, other = 0;
    for (; j < y->width; j++) {
        const double v = cb_element(y, s, j), here = l->bits == 32 ? (double)(float)v : v;
        misfit |= !(v >= l->low && v <= l->high) | (here - here != 0); /* NaN fits nowhere */
        other |= v != 0 && v != 1;
        ones += v == 1;
    }
    l->misfit |= misfit;
    l->other |= other;
    return ones;
}

static inline void cb_look_at_wide_row(cb_look *l, const cb_rows *y, cb_index s)
{
    cb_two sum[CB_PAIRS] = {{0}}; /* of ones, where all are 0 or 1 */
    cb_index j = 0;
    for (; j + CB_SOME <= y->width; j += CB_SOME) {
        double some[CB_SOME];
        cb_some(y, s, j, some);
        for (int i = 0; i < CB_PAIRS; i++) {
            const cb_two v = {some[2 * i], some[2 * i + 1]};
            const cb_two_floats single = __builtin_convertvector(v, cb_two_floats);
            const cb_two here = l->bits == 32 ? __builtin_convertvector(single, cb_two) : v;
            const cb_two_bits fit = (v >= l->low) & (v <= l->high) & (here - here == 0);
            l->unfit[i] |= ~fit;
            l->odd[i] |= (v != 0) & (v != 1);
            sum[i] += v;
        }
    }
    double total = (double)cb_look_at_rest(l, y, s, j);
    for (int i = 0; i < CB_PAIRS; i++)
        total += sum[i][0] + sum[i][1];
    l->uneven |= total != 1;
}

static inline cb_targets cb_look_at_targets(const cb_rows *y, cb_index m, double low, double high,
                                            int bits)
{
    cb_look l = {.low = low, .high = high, .bits = bits};
    if (y->width < CB_SOME)
        for (cb_index s = 0; s < m; s++)
            l.uneven |= cb_look_at_rest(&l, y, s, 0) != 1;
    else
        for (cb_index s = 0; s < m; s++)
            cb_look_at_wide_row(&l, y, s);
    for (int i = 0; i < CB_PAIRS; i++) {
        l.misfit |= (l.unfit[i][0] | l.unfit[i][1]) != 0;
        l.other |= (l.odd[i][0] | l.odd[i][1]) != 0;
    }
    const cb_targets found = {!l.misfit, !l.other, !l.other && !l.uneven};
    return found;
}

/* variance[j] of column j over m rows, two passes in the order of the rows; taken from the
 * first value, so that a constant column has exactly 0. */
static inline void cb_variance(const cb_rows *y, cb_index m, double *variance)
{
    cb_index j = 0;
    for (; j + CB_SOME <= y->width; j += CB_SOME) {
        double first[CB_SOME], v[CB_SOME], mean[CB_SOME] = {0}, squares[CB_SOME] = {0};
        cb_some(y, 0, j, first);
        for (cb_index s = 0; s < m; s++) {
            cb_some(y, s, j, v);
            for (int i = 0; i < CB_SOME; i++)
                mean[i] += v[i] - first[i];
        }
        for (int i = 0; i < CB_SOME; i++)
            mean[i] /= (double)m;
        for (cb_index s = 0; s < m; s++) {
            cb_some(y, s, j, v);
            for (int i = 0; i < CB_SOME; i++) {
                const double d = v[i] - first[i] - mean[i];
                squares[i] += d * d;
            }
        }
        for (int i = 0; i < CB_SOME; i++)
            variance[j + i] = squares[i] / (double)m;
    }
    for (; j < y->width; j++) {
        const double first = cb_element(y, 0, j);
        double sum = 0, squares = 0;
        for (cb_index s = 0; s < m; s++)
            sum += cb_element(y, s, j) - first;
        const double mean = sum / (double)m;
        for (cb_index s = 0; s < m; s++) {
            const double d = cb_element(y, s, j) - first - mean;
            squares += d * d;
        }
        variance[j] = squares / (double)m;
    }
}

/* Labels 0 .. count - 1 as int32, from integers of `size` bytes; 0 where one is none. */
static inline int cb_labels(const void *data, ptrdiff_t stride, int size, int is_signed, cb_index m,
                            int64_t count, int32_t *labels)
{
    for (cb_index s = 0; s < m; s++) {
        const char *p = (const char *)data + s * stride;
        int64_t v;
        switch (size) {
        case 1: v = is_signed ? *(const int8_t *)p : *(const uint8_t *)p; break;
        case 2: v = is_signed ? *(const int16_t *)p : *(const uint16_t *)p; break;
        case 4: v = is_signed ? *(const int32_t *)p : (int64_t)*(const uint32_t *)p; break;
        default: v = *(const int64_t *)p; /* unsigned beyond 2^63: negative, refused */
        }
        if (v < 0 || v >= count)
            return 0;
        labels[s] = (int32_t)v;
    }
    return 1;
}

#endif
