# cython: language_level=3, cdivision=True, freethreading_compatible=True
"""Forward, BP2, BP3 and BP4 where products take their operands rounded to bfloat16: w where it is
used, activations and errors once a mini-batch. Everything else stays as in `_forward`,
`_error_propagation` and `_gradients`, and so do the layers that are not worth it."""
from cbackprop._engine cimport Engine, Workspace, address, arena_of
from cbackprop._forward cimport forward_columns
from cbackprop._gradients cimport blocks_of, gradient_rows, share, tiles_of
from cbackprop._kernels cimport (INPUTS_BYTES, Pass, cb_ahead, cb_bf16_stride, cb_index,
                                 cb_is_elementwise, cb_layer, cb_update, part, parts_of)

cdef enum:
    # Of narrower layers and smaller mini-batches the products are too little beside the rest.
    LEAST_WIDTH = 32
    LEAST_BATCH = 32
    BYTES = 2               # of a number in bfloat16
    SLACK = 64              # a vector that begins at the end of a plane


# ---- memory -----------------------------------------------------------------------------

cdef bint is_worth_it(const cb_layer *l, cb_index m) noexcept nogil:
    # A function of the network and the mini-batch alone: the bits depend on it.
    return l.n_in >= LEAST_WIDTH and l.n_out >= LEAST_WIDTH and m >= LEAST_BATCH


cdef cb_index tiles_at_once(const Pass *p, cb_index l, cb_index m) noexcept nogil:
    cdef cb_index one = 1
    return max(one, min(tiles_of(p, l), INPUTS_BYTES // tile_bytes(p, m)))


cdef cb_index tile_bytes(const Pass *p, cb_index m) noexcept nogil:
    return 2 * BYTES * p.kernels.tile_rows * cb_bf16_stride(m)


cdef class Rounded:
    """The planes and scratch of some layers of a workspace."""

    def __cinit__(self, Workspace w, layers):
        cdef const Pass *p = &w.p
        cdef cb_index l, block, scratch = 0, pairs = parts_of(w.m, 2), each = tile_bytes(p, w.m)
        cdef const cb_layer *layer
        sizes = []
        for l in layers:
            layer = &p.layer[l]
            block = blocks_of(p, l) * p.kernels.tile_cols
            sizes += [w.m * layer.ld_in * BYTES + SLACK, w.m * layer.ld_out * BYTES * (l > 1),
                      2 * pairs * block * BYTES]
            scratch = max(scratch, (max(layer.n_in, layer.n_out) + 1) * p.kernels.tile_cols * BYTES,
                          # of fewer samples there are more tiles at once
                          min(tiles_of(p, l) * each, max(<cb_index>INPUTS_BYTES, each)))
        scratch = parts_of(scratch, 128) * 128
        self.arena, starts = arena_of([*sizes, w.threads * scratch])
        cdef char *base = <char *>address(self.arena)
        self.layers = layers
        for l in range(1, p.L + 1):
            p.layer[l].a_bf16 = p.layer[l].delta_bf16 = p.layer[l].delta_pairs = NULL
        for i, l in enumerate(layers):
            p.layer[l].a_bf16 = base + <cb_index>starts[3 * i]
            p.layer[l].delta_bf16 = base + <cb_index>starts[3 * i + 1] if l > 1 else NULL
            p.layer[l].delta_pairs = base + <cb_index>starts[3 * i + 2]
        self.rounding = Rounding(NULL, base + <cb_index>starts[-2], scratch)


cdef const Rounding *rounding_of(Workspace w, Engine engine, cb_index m) except? NULL:
    # For mini-batches of m, lent to the workspace; NULL where no layer is worth it.
    cdef cb_index l
    cdef Rounded rounded = w.rounded
    layers = [l for l in range(1, engine.L + 1) if is_worth_it(&engine.layer[l], m)]
    if not layers:
        return NULL
    if rounded is None or rounded.layers != layers:
        w.rounded = rounded = Rounded(w, layers)
        rounded.rounding.kernels = engine.bf16
    return &rounded.rounding


# ---- the equations ----------------------------------------------------------------------

cdef void rounded_forward(const Pass *p, const Rounding *r, int thread, cb_index first,
                          cb_index last) noexcept nogil:
    # As forward().
    cdef cb_index l
    for l in range(1, p.L + 1 if first < last else 0):
        if p.layer[l].a_bf16 != NULL:
            r.kernels.round_inputs(&p.layer[l], first, last - first)
            rounded_inputs(p, r, l, thread, first, last)
        else:
            forward_columns(p, l, first, last, 0, p.layer[l].n_out)
        p.kernels.complete_rows(&p.layer[l], first, last - first)


cdef void rounded_inputs(const Pass *p, const Rounding *r, cb_index l, int thread, cb_index first,
                         cb_index last) noexcept nogil:
    # z^l and, where sigma is element-wise, a^l.
    cdef const cb_layer *layer = &p.layer[l]
    cdef char *scratch = r.scratch + thread * r.scratch_bytes
    cdef cb_index col = 0, cols, i, row, n = last - first, tiles = parts_of(n, p.kernels.tile_rows)
    while col < layer.n_out:
        cols = min(<cb_index>p.kernels.tile_cols, layer.n_out - col)
        r.kernels.round_weights(layer, col, cols, scratch)
        for i in range(tiles):
            row = part(n, tiles, i)
            r.kernels.weighted_input(layer, scratch, first + row, part(n, tiles, i + 1) - row,
                                     col, cols)
        col += cols


cdef void rounded_propagate_error(const Pass *p, const Rounding *r, int thread, cb_index first,
                                  cb_index last) noexcept nogil:
    # As propagate_error().
    cdef cb_index l
    if first == last:
        return
    keep_errors(p, r, p.L, first, last)
    for l in range(p.L - 1, 0, -1):
        propagate_columns(p, r, l, thread, first, last)
        if not cb_is_elementwise(p.layer[l].activation):
            p.kernels.through_activation(&p.layer[l], first, last - first)
            keep_errors(p, r, l, first, last)


cdef void propagate_columns(const Pass *p, const Rounding *r, cb_index l, int thread,
                            cb_index first, cb_index last) noexcept nogil:
    cdef cb_index col = 0, cols, i, row, n = last - first, tiles = parts_of(n, p.kernels.tile_rows)
    cdef const cb_layer *layer = &p.layer[l]
    cdef const cb_layer *next = &p.layer[l + 1]
    cdef char *scratch = r.scratch + thread * r.scratch_bytes
    cdef bint is_rounded = next.a_bf16 != NULL
    while col < layer.n_out:
        cols = min(<cb_index>p.kernels.tile_cols, layer.n_out - col)
        if is_rounded:
            r.kernels.transpose(next, col, cols, scratch)
        else:
            p.kernels.transpose(next, col, cols, p.scratch[thread])
        for i in range(tiles):
            row = part(n, tiles, i)
            if is_rounded:
                r.kernels.propagate(layer, next, scratch, first + row,
                                    part(n, tiles, i + 1) - row, col, cols)
            else:
                p.kernels.propagate(layer, next, p.scratch[thread], first + row,
                                    part(n, tiles, i + 1) - row, col, cols)
        if cb_is_elementwise(layer.activation):
            keep_block(p, r, layer, first, n, col, cols)
        col += cols


cdef void keep_errors(const Pass *p, const Rounding *r, cb_index l, cb_index first,
                      cb_index last) noexcept nogil:
    cdef cb_index col = 0, cols
    while col < p.layer[l].n_out:
        cols = min(<cb_index>p.kernels.tile_cols, p.layer[l].n_out - col)
        keep_block(p, r, &p.layer[l], first, last - first, col, cols)
        col += cols


cdef void round_again(const Pass *p, const Rounding *r, cb_index first,
                      cb_index last) noexcept nogil:
    # What BP4 reads of samples first .. last - 1, first even, whose a and delta came from
    # elsewhere.
    cdef cb_index l
    for l in range(1, p.L + 1 if first < last else 0):
        if p.layer[l].a_bf16 != NULL:
            r.kernels.round_inputs(&p.layer[l], first, last - first)
        keep_errors(p, r, l, first, last)


cdef inline void keep_block(const Pass *p, const Rounding *r, const cb_layer *layer, cb_index first,
                            cb_index n, cb_index col, cb_index cols) noexcept nogil:
    # delta^l as BP2 and BP4 read it.
    if layer.a_bf16 != NULL:
        r.kernels.round_errors(layer, first, n, col, cols)
    elif layer.delta_block != NULL:
        p.kernels.block_errors(layer, first, n, col, cols)


cdef void rounded_gradients(const Pass *p, const Rounding *r, cb_index m, int thread, int threads,
                            const cb_update *update, cb_ahead *ahead) noexcept nogil:
    # As gradients(); a tile of float32 counts twice.
    cdef cb_index work = 0, before = 0, l, tiles, each, begin, end
    for l in range(1, p.L + 1):
        work += tiles_of(p, l) * cost_of(p, l)
    cdef cb_index mine = part(work, threads, thread), theirs = part(work, threads, thread + 1)
    for l in range(1, p.L + 1):
        tiles, each = tiles_of(p, l), cost_of(p, l)
        begin, end = share(mine - before, tiles, each), share(theirs - before, tiles, each)
        if p.layer[l].a_bf16 != NULL:
            rounded_rows(p, r, l, m, begin, end, r.scratch + thread * r.scratch_bytes, update,
                         ahead)
        else:
            gradient_rows(p, l, m, begin, end, 0, p.layer[l].n_out, p.scratch[thread], update,
                          ahead)
        before += tiles * each


cdef inline cb_index cost_of(const Pass *p, cb_index l) noexcept nogil:
    # Of a row of tiles.
    return blocks_of(p, l) * (1 if p.layer[l].a_bf16 != NULL else 2)


cdef void rounded_rows(const Pass *p, const Rounding *r, cb_index l, cb_index m, cb_index first,
                       cb_index last, char *scratch, const cb_update *update,
                       cb_ahead *ahead) noexcept nogil:
    # Rows of tiles first .. last - 1.
    cdef const cb_layer *layer = &p.layer[l]
    cdef cb_index tiles = tiles_of(p, l), at_once = tiles_at_once(p, l, m), begin = first
    cdef cb_index end, row, rows, col, cols
    while begin < last:
        end = min(last, begin + at_once)
        row = part(layer.n_in + 1, tiles, begin)
        rows = part(layer.n_in + 1, tiles, end) - row
        r.kernels.block_inputs(layer, m, row, rows, end - begin, scratch)
        col = 0
        while col < layer.n_out:
            cols = min(<cb_index>p.kernels.tile_cols, layer.n_out - col)
            r.kernels.gradient(layer, m, scratch, row, rows, end - begin, col, cols, update, ahead)
            col += cols
        begin = end
