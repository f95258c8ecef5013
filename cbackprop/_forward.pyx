# cython: language_level=3, cdivision=True, freethreading_compatible=True
"""z^l and a^l: the forward pass."""
from cbackprop._kernels cimport CB_FEW_ROWS, Pass, cb_index, cb_layer, part, parts_of


cdef void forward(const Pass *p, cb_index first, cb_index last) noexcept nogil:
    # For samples first .. last - 1 and l = 1 .. L:
    #     z^l = a^{l-1} (w^l)^T + b^l          z[l] = a[l-1] @ w[l].T + b[l]
    #     a^l = sigma(z^l)
    cdef cb_index l, block, col, cols, width, i, row, n = last - first
    cdef cb_index tiles = parts_of(n, p.kernels.tile_rows)
    cdef const cb_layer *layer
    if n == 0:
        return
    for l in range(1, p.L + 1):
        layer = &p.layer[l]
        width = layer.n_out if n <= CB_FEW_ROWS else p.kernels.tile_cols
        for block in range(parts_of(layer.n_out, width)):
            col = block * width
            cols = min(width, layer.n_out - col)
            for i in range(tiles):
                row = part(n, tiles, i)
                p.kernels.weighted_input(layer, first + row, part(n, tiles, i + 1) - row,
                                         col, cols)
        p.kernels.complete_rows(layer, first, n)
