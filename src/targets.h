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

static inline cb_targets cb_look_at_targets(const cb_rows *y, cb_index m, double low, double high,
                                            int bits)
{
    int misfit = 0, other = 0, uneven = 0;
    for (cb_index s = 0; s < m; s++) {
        cb_index ones = 0;
        for (cb_index j = 0; j < y->width; j++) {
            const double v = cb_element(y, s, j), here = bits == 32 ? (double)(float)v : v;
            misfit |= !(v >= low && v <= high) | (here - here != 0); /* NaN fits nowhere */
            other |= v != 0 && v != 1;
            ones += v == 1;
        }
        uneven |= ones != 1;
    }
    const cb_targets found = {!misfit, !other, !other && !uneven};
    return found;
}

/* variance[j] of column j over m rows, two passes in the order of the rows; taken from the
 * first value, so that a constant column has exactly 0. */
static inline void cb_variance(const cb_rows *y, cb_index m, double *variance)
{
    for (cb_index j = 0; j < y->width; j++) {
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
