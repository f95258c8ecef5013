/* A layer's panels (NOTATION.md) in the book's shapes, w [n_out][n_in] and b [n_out]; and back. */
#ifndef CBACKPROP_UNPACK_H
#define CBACKPROP_UNPACK_H

#include "kernels.h"

/* By blocks of 16 inputs, so that what one neuron leaves in cache serves the next; whole
 * blocks have constant bounds. */
#define CB_UNPACK(NAME, REAL)                                                                    \
    static inline void NAME(const void *panels, cb_index n_in, cb_index n_out, void *w, void *b) \
    {                                                                                            \
        for (cb_index j0 = 0; j0 < n_out; j0 += CB_PANEL) {                                      \
            const REAL *from = (const REAL *)panels + j0 * (n_in + 1);                           \
            REAL *to = (REAL *)w + j0 * n_in;                                                    \
            const cb_index lanes = n_out - j0 < CB_PANEL ? n_out - j0 : CB_PANEL;                \
            for (cb_index k0 = 0; k0 < n_in; k0 += CB_PANEL) {                                   \
                const cb_index left = n_in - k0 < CB_PANEL ? n_in - k0 : CB_PANEL;               \
                if (left == CB_PANEL)                                                            \
                    for (cb_index j = 0; j < lanes; j++)                                         \
                        for (int k = 0; k < CB_PANEL; k++)                                       \
                            to[j * n_in + k0 + k] = from[(k0 + k) * CB_PANEL + j];               \
                else                                                                             \
                    for (cb_index j = 0; j < lanes; j++)                                         \
                        for (cb_index k = k0; k < n_in; k++)                                     \
                            to[j * n_in + k] = from[k * CB_PANEL + j];                           \
            }                                                                                    \
            for (cb_index j = 0; j < lanes; j++)                                                 \
                ((REAL *)b)[j0 + j] = from[n_in * CB_PANEL + j];                                 \
        }                                                                                        \
    }
CB_UNPACK(cb_unpack_f32, float)
CB_UNPACK(cb_unpack_f64, double)
#undef CB_UNPACK

/* Lanes of padding become 0. */
#define CB_PACK(NAME, REAL)                                                              \
    static inline void NAME(const void *w, const void *b, cb_index n_in, cb_index n_out, \
                            void *panels)                                                \
    {                                                                                    \
        for (cb_index j0 = 0; j0 < n_out; j0 += CB_PANEL) {                              \
            const REAL *from = (const REAL *)w + j0 * n_in;                              \
            REAL *to = (REAL *)panels + j0 * (n_in + 1);                                 \
            const cb_index lanes = n_out - j0 < CB_PANEL ? n_out - j0 : CB_PANEL;        \
            for (cb_index k = 0; k <= n_in; k++)                                         \
                for (cb_index j = 0; j < CB_PANEL; j++)                                  \
                    to[k * CB_PANEL + j] = j >= lanes ? 0                                \
                                           : k < n_in ? from[j * n_in + k]               \
                                                      : ((const REAL *)b)[j0 + j];       \
        }                                                                                \
    }
CB_PACK(cb_pack_f32, float)
CB_PACK(cb_pack_f64, double)
#undef CB_PACK

#endif
