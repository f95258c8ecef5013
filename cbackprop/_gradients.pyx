# cython: language_level=3, cdivision=True, freethreading_compatible=True
"""BP3 and BP4: the gradients of biases and weights, and the update in the same pass."""
from cbackprop._kernels cimport (Pass, cb_ahead, cb_index, cb_layer, cb_update, inputs_at_once,
                                 part)


cdef void gradients(const Pass *p, cb_index m, int thread, int threads, const cb_update *update,
                    cb_ahead *ahead) noexcept nogil:
    # For l = 1 .. L, over the samples of the mini-batch:
    #     BP3  dC/db^l_j  = 1/m sum_s delta^l_sj               nabla_b[l] = delta[l].mean(0)
    #     BP4  dC/dw^l_jk = 1/m sum_s a^{l-1}_sk delta^l_sj    nabla_w[l] = delta[l].T @ a[l-1] / m
    # Row k of a panel of w is neuron k of layer l-1; row n_in is the bias, whose a is the
    # constant 1, so BP3 is BP4's last row. Each thread takes rows worth an equal share of
    # the work, counted in tiles.
    cdef cb_index work = tiles_from(p, 1, p.layer[1].n_out), before = 0, l, tiles
    cdef cb_index mine = part(work, threads, thread), theirs = part(work, threads, thread + 1)
    for l in range(1, p.L + 1):
        tiles = tiles_of(p, l)
        gradient_rows(p, l, m, share(mine - before, tiles, blocks_of(p, l)),
                      share(theirs - before, tiles, blocks_of(p, l)), 0, p.layer[l].n_out,
                      p.scratch[thread], update, ahead)
        before += tiles * blocks_of(p, l)


cdef cb_index tiles_from(const Pass *p, cb_index l, cb_index columns) noexcept nogil:
    # The tiles of so many neurons of layer l, and of all layers after it.
    cdef cb_index tiles = tiles_of(p, l) * parts_of(columns, p.kernels.tile_cols), k
    for k in range(l + 1, p.L + 1):
        tiles += tiles_of(p, k) * blocks_of(p, k)
    return tiles


cdef void gradient_columns(const Pass *p, cb_index l, cb_index m, cb_index begin, cb_index end,
                           const cb_update *update, cb_ahead *ahead) noexcept nogil:
    # Neurons begin .. end - 1 of layer l, begin at a panel's edge; operands where they lie.
    gradient_rows(p, l, m, 0, tiles_of(p, l), begin, end, NULL, update, ahead)


cdef void gradient_rows(const Pass *p, cb_index l, cb_index m, cb_index first, cb_index last,
                        cb_index begin_col, cb_index end_col, void *scratch,
                        const cb_update *update, cb_ahead *ahead) noexcept nogil:
    # Rows of tiles first .. last - 1. Where the mini-batch is large, the inputs of some of
    # them are laid out for the tiles beforehand, so that every block of columns finds them
    # near.
    cdef const cb_layer *layer = &p.layer[l]
    cdef cb_index tiles = tiles_of(p, l), at_once = last - first, col, begin, end, row, rows
    cdef void *inputs = NULL
    if layer.delta_block != NULL:
        at_once, inputs = inputs_at_once(p.kernels, m), scratch
    begin = first
    while begin < last:
        end = min(last, begin + at_once)
        row = part(layer.n_in + 1, tiles, begin)
        rows = part(layer.n_in + 1, tiles, end) - row
        if inputs != NULL:
            p.kernels.block_inputs(layer, m, row, rows, end - begin, inputs)
        col = begin_col
        while col < end_col:
            p.kernels.gradient(layer, m, inputs, row, rows, end - begin, col,
                               min(<cb_index>p.kernels.tile_cols, end_col - col), update, ahead)
            col += p.kernels.tile_cols
        begin = end
