# cython: language_level=3, cdivision=True, freethreading_compatible=True
"""z^l and a^l: the forward pass."""
from cbackprop._kernels cimport CB_FEW_ROWS, Pass, cb_index, part, parts_of


cdef void forward(const Pass *p, cb_index first, cb_index last) noexcept nogil:
    # For samples first .. last - 1 and l = 1 .. L:
    #     z^l = a^{l-1} (w^l)^T + b^l          z[l] = a[l-1] @ w[l].T + b[l]
    #     a^l = sigma(z^l)
    forward_from(p, 1, first, last)


cdef void forward_from(const Pass *p, cb_index start, cb_index first, cb_index last) noexcept nogil:
    cdef cb_index l
    for l in range(start, p.L + 1 if first < last else 0):
        forward_columns(p, l, first, last, 0, p.layer[l].n_out)
        p.kernels.complete_rows(&p.layer[l], first, last - first)


cdef void forward_columns(const Pass *p, cb_index l, cb_index first, cb_index last, cb_index begin,
                          cb_index end) noexcept nogil:
    # Neurons begin .. end - 1 of layer l, begin at a panel's edge.
    cdef cb_index col, i, row, n = last - first, tiles = parts_of(n, p.kernels.tile_rows)
    cdef cb_index width = end - begin if n <= CB_FEW_ROWS else p.kernels.tile_cols
    col = begin
    while col < end:
        for i in range(tiles):
            row = part(n, tiles, i)
            p.kernels.weighted_input(&p.layer[l], first + row, part(n, tiles, i + 1) - row, col,
                                     min(width, end - col))
        col += width
