# cython: language_level=3, cdivision=True, freethreading_compatible=True
"""BP2: the error of a layer from the error of the next, through the transposed weights."""
from cbackprop._kernels cimport (Pass, cb_index, cb_is_elementwise, cb_layer, part,
                                 parts_of)


cdef void propagate_error(const Pass *p, int thread, cb_index first,
                          cb_index last) noexcept nogil:
    # For samples first .. last - 1 and l = L-1 .. 1:
    #     delta^l = ((w^{l+1})^T delta^{l+1}) * sigma'(z^l)
    #                                         delta[l] = (delta[l+1] @ w[l+1]) * sigma'(z[l])
    propagate_error_to(p, 1, thread, first, last)


cdef void propagate_error_to(const Pass *p, cb_index end, int thread, cb_index first,
                             cb_index last) noexcept nogil:
    # Down to layer `end`.
    cdef cb_index l, n = last - first
    if n == 0:
        return
    block_errors(p, &p.layer[p.L], first, n)
    for l in range(p.L - 1, end - 1, -1):
        propagate_columns(p, l, thread, first, last, 0, p.layer[l].n_out)
        if not cb_is_elementwise(p.layer[l].activation):
            # not element-wise: (2.15) stands in for the product with sigma'
            p.kernels.through_activation(&p.layer[l], first, n)
            block_errors(p, &p.layer[l], first, n)


cdef void propagate_columns(const Pass *p, cb_index l, int thread, cb_index first, cb_index last,
                            cb_index begin, cb_index end) noexcept nogil:
    # Neurons begin .. end - 1 of layer l, begin at a panel's edge. A block of w^{l+1} is
    # transposed into the thread's scratch just before its use.
    cdef cb_index col, cols, i, row, n = last - first, tiles = parts_of(n, p.kernels.tile_rows)
    cdef const cb_layer *layer = &p.layer[l]
    cdef const cb_layer *next = &p.layer[l + 1]
    col = begin
    while col < end:
        cols = min(<cb_index>p.kernels.tile_cols, end - col)
        p.kernels.transpose(next, col, cols, p.scratch[thread])
        for i in range(tiles):
            row = part(n, tiles, i)
            p.kernels.propagate(layer, next, p.scratch[thread], first + row,
                                part(n, tiles, i + 1) - row, col, cols)
        if layer.delta_block != NULL and cb_is_elementwise(layer.activation):
            p.kernels.block_errors(layer, first, n, col, cols)
        col += p.kernels.tile_cols


cdef void block_errors(const Pass *p, const cb_layer *layer, cb_index first,
                       cb_index n) noexcept nogil:
    # A copy of delta^l as BP4 reads it fastest, where that is wanted.
    cdef cb_index block, col
    for block in range(parts_of(layer.n_out, p.kernels.tile_cols) if layer.delta_block else 0):
        col = block * p.kernels.tile_cols
        p.kernels.block_errors(layer, first, n, col,
                               min(<cb_index>p.kernels.tile_cols, layer.n_out - col))
