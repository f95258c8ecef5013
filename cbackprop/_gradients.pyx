# cython: language_level=3, cdivision=True, freethreading_compatible=True
"""BP3 and BP4: the gradients of biases and weights, and the update in the same pass."""
from cbackprop._kernels cimport Pass, cb_index, cb_layer, cb_update, part, parts_of


cdef void gradients(const Pass *p, cb_index m, int thread, int threads,
                    const cb_update *update) noexcept nogil:
    # For l = 1 .. L, over the samples of the mini-batch:
    #     BP3  dC/db^l_j  = 1/m sum_s delta^l_sj               nabla_b[l] = delta[l].mean(0)
    #     BP4  dC/dw^l_jk = 1/m sum_s a^{l-1}_sk delta^l_sj    nabla_w[l] = delta[l].T @ a[l-1] / m
    # Row k of a panel of w is neuron k of layer l-1; row n_in is the bias, whose a is the
    # constant 1, so BP3 is BP4's last row. Each thread takes tiles worth an equal share of
    # the work, counted in rows of one tile's width.
    cdef cb_index work = 0, before = 0, l, block, col, cols, i, row, tiles
    cdef const cb_layer *layer
    for l in range(1, p.L + 1):
        work += (p.layer[l].n_in + 1) * parts_of(p.layer[l].n_out, p.kernels.tile_cols)
    cdef cb_index mine = part(work, threads, thread), theirs = part(work, threads, thread + 1)
    for l in range(1, p.L + 1):
        layer = &p.layer[l]
        tiles = parts_of(layer.n_in + 1, p.kernels.tile_rows)
        for block in range(parts_of(layer.n_out, p.kernels.tile_cols)):
            col = block * p.kernels.tile_cols
            cols = min(<cb_index>p.kernels.tile_cols, layer.n_out - col)
            for i in range(tiles):
                row = part(layer.n_in + 1, tiles, i)
                if mine <= before + row < theirs:
                    p.kernels.gradient(layer, m, row, part(layer.n_in + 1, tiles, i + 1) - row,
                                       col, cols, update)
            before += layer.n_in + 1
