from cbackprop._kernels cimport Pass, cb_ahead, cb_index, cb_update, parts_of

cdef cb_index tiles_from(const Pass *p, cb_index l, cb_index columns) noexcept nogil
cdef void gradients(const Pass *p, cb_index m, int thread, int threads, const cb_update *update,
                    cb_ahead *ahead) noexcept nogil
cdef void gradient_columns(const Pass *p, cb_index l, cb_index m, cb_index begin, cb_index end,
                           const cb_update *update, cb_ahead *ahead) noexcept nogil
cdef void gradient_rows(const Pass *p, cb_index l, cb_index m, cb_index first, cb_index last,
                        cb_index begin_col, cb_index end_col, void *scratch,
                        const cb_update *update, cb_ahead *ahead) noexcept nogil


cdef inline cb_index tiles_of(const Pass *p, cb_index l) noexcept nogil:
    return parts_of(p.layer[l].n_in + 1, p.kernels.tile_rows)


cdef inline cb_index blocks_of(const Pass *p, cb_index l) noexcept nogil:
    return parts_of(p.layer[l].n_out, p.kernels.tile_cols)


cdef inline cb_index share(cb_index work, cb_index tiles, cb_index blocks) noexcept nogil:
    # The row of tiles at which so much work is done.
    return max(<cb_index>0, min(tiles, work // blocks))
