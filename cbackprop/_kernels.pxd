# The C core as Cython sees it: the headers of src/, line for line.
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

cdef extern from "kernels.h" nogil:
    ctypedef ptrdiff_t cb_index
    enum: CB_PANEL, CB_FEW_ROWS, CB_ALIGNMENT, CB_CACHE_LINE
    enum cb_activation: CB_SOFTMAX, CB_OWN_ACTIVATION
    enum cb_score: CB_ARGMAX, CB_SUBSET, CB_SQUARED_ERROR
    enum cb_source: CB_UINT8, CB_FLOAT32, CB_FLOAT64
    enum cb_rule: CB_STORE, CB_SUM, CB_SGD, CB_ADAGRAD, CB_ADAM, CB_AMSGRAD, CB_NADAM
    enum: CB_SGD_ADJUSTED

    ctypedef struct cb_own:
        void *context
        void (*activate)(void *context, const void *z, void *a, cb_index rows, cb_index n,
                         cb_index ld) noexcept nogil
        void (*through)(void *context, const void *z, const void *a, void *delta, cb_index rows,
                        cb_index n, cb_index ld) noexcept nogil
        void (*value)(void *context, const void *a, const void *y, double *values, cb_index rows,
                      cb_index n, cb_index ld) noexcept nogil
        void (*slope)(void *context, const void *a, const void *y, void *delta, cb_index rows,
                      cb_index n, cb_index ld) noexcept nogil

    enum: CB_DROPS
    ctypedef struct cb_dropout:
        uint64_t key
        uint32_t epoch
        uint64_t position, draws
        double noise

    ctypedef struct cb_layer:
        cb_index n_in, n_out
        cb_index ld_in, ld_out
        int activation
        double alpha
        const cb_own *own
        void *w
        void *nabla
        void *state
        cb_index plane
        int planes
        const void *a_in
        void *z
        void *a
        void *delta
        void *delta_block
        cb_index m
        const cb_dropout *dropout
        uint32_t drop
        cb_index first_draw
        void *mask
        void *dropped
        void *a_bf16
        void *delta_bf16
        void *delta_pairs

    ctypedef struct cb_cost_function:
        int code
        double parameter
        const cb_own *own

    int cb_needs_z(int activation) noexcept
    int cb_is_elementwise(int activation) noexcept

    ctypedef struct cb_rows:
        const void *data
        ptrdiff_t row_stride, column_stride
        cb_index width
        int type
        int bias
        const void *scale
        const void *shift

    ctypedef struct cb_ahead:
        const cb_rows *rows
        const cb_rows *then
        const int64_t *again
        cb_index count
        const int64_t *index
        cb_index left, at, lines, step, reach

    ctypedef struct cb_update:
        int rule, goes_on, adjusts
        double m, per_sample, rate, decay, bias_decay, l1, l2, clip
        double beta1, beta2, rest1, rest2, eps, root, ahead, low, high

    ctypedef struct cb_kernels:
        const char *name
        int itemsize, lanes, tile_rows, tile_cols
        void (*gather)(const cb_rows *x, const int64_t *index, cb_index row, cb_index rows,
                       void *out, cb_index ld, int *non_finite) noexcept nogil
        void (*one_hot)(const int32_t *labels, const int64_t *index, cb_index row,
                        cb_index rows, void *y, cb_index ld, cb_index n) noexcept nogil
        void (*weighted_input)(const cb_layer *l, cb_index row, cb_index rows, cb_index col,
                               cb_index cols) noexcept nogil
        void (*complete_rows)(const cb_layer *l, cb_index row, cb_index rows) noexcept nogil
        void (*cost_value)(const cb_cost_function *cost, const cb_layer *l, const void *y,
                           cb_index row, cb_index rows, double *values) noexcept nogil
        void (*cost_gradient)(const cb_cost_function *cost, const cb_layer *l, const void *y,
                              cb_index row, cb_index rows) noexcept nogil
        void (*through_activation)(const cb_layer *l, cb_index row, cb_index rows) noexcept nogil
        void (*stable_error)(const cb_layer *l, const void *y, cb_index row,
                             cb_index rows) noexcept nogil
        void (*weigh)(const cb_layer *l, const double *weights, const int64_t *index,
                      cb_index row, cb_index rows) noexcept nogil
        void (*score)(int kind, const cb_layer *l, const void *y, cb_index row,
                      cb_index rows, double *values) noexcept nogil
        void (*add_squares)(const cb_layer *l, const void *y, const double *weights,
                            const int64_t *index, cb_index rows, cb_index col, cb_index cols,
                            double *sums) noexcept nogil
        void (*transpose)(const cb_layer *l, cb_index col, cb_index cols,
                          void *scratch) noexcept nogil
        void (*propagate)(const cb_layer *l, const cb_layer *next, const void *scratch,
                          cb_index row, cb_index rows, cb_index col, cb_index cols) noexcept nogil
        void (*block_errors)(const cb_layer *l, cb_index row, cb_index rows, cb_index col,
                             cb_index cols) noexcept nogil
        void (*block_inputs)(const cb_layer *l, cb_index m, cb_index row, cb_index rows,
                             cb_index tiles, void *to) noexcept nogil
        void (*gradient)(const cb_layer *l, cb_index m, const void *inputs, cb_index row,
                         cb_index rows, cb_index tiles, cb_index col, cb_index cols,
                         const cb_update *update, cb_ahead *ahead) noexcept nogil
        void (*apply)(const cb_layer *l, cb_index row, cb_index rows, cb_index col, cb_index cols,
                      const cb_update *update) noexcept nogil
        void (*drop_inputs)(const cb_layer *l, cb_index row, cb_index rows) noexcept nogil
        void (*add_noise)(const cb_layer *l, const cb_dropout *chance, cb_index row,
                          cb_index rows) noexcept nogil
        void (*add_error_squares)(const cb_layer *l, cb_index rows, cb_index col, cb_index cols,
                                  double *sums) noexcept nogil
        double (*gradient_squares)(const cb_layer *l, cb_index panel,
                                   const cb_update *update) noexcept nogil
        void (*limit_norms)(const cb_layer *l, cb_index panel, double most) noexcept nogil
        int (*all_finite)(const void *x, cb_index n) noexcept nogil
        void (*function)(int which, const void *x, void *y, cb_index n) noexcept nogil

    const cb_kernels *cb_kernels_in_use(int bits) noexcept
    const cb_kernels *cb_kernels_named(const char *name, int bits) noexcept
    int cb_kernels_choose(const char *name) noexcept

    ctypedef struct cb_bf16_kernels:
        void (*round_inputs)(const cb_layer *l, cb_index row, cb_index rows) noexcept nogil
        void (*round_weights)(const cb_layer *l, cb_index col, cb_index cols,
                              void *scratch) noexcept nogil
        void (*weighted_input)(const cb_layer *l, const void *scratch, cb_index row,
                               cb_index rows, cb_index col, cb_index cols) noexcept nogil
        void (*transpose)(const cb_layer *l, cb_index col, cb_index cols,
                          void *scratch) noexcept nogil
        void (*propagate)(const cb_layer *l, const cb_layer *next, const void *scratch,
                          cb_index row, cb_index rows, cb_index col, cb_index cols) noexcept nogil
        void (*round_errors)(const cb_layer *l, cb_index row, cb_index rows, cb_index col,
                             cb_index cols) noexcept nogil
        void (*block_inputs)(const cb_layer *l, cb_index m, cb_index row, cb_index rows,
                             cb_index tiles, void *to) noexcept nogil
        void (*gradient)(const cb_layer *l, cb_index m, const void *inputs, cb_index row,
                         cb_index rows, cb_index tiles, cb_index col, cb_index cols,
                         const cb_update *update, cb_ahead *ahead) noexcept nogil

    cb_index cb_bf16_stride(cb_index m) noexcept
    const cb_bf16_kernels *cb_bf16_kernels_of(const cb_kernels *table) noexcept

cdef extern from "pool.h" nogil:
    ctypedef struct cb_team:
        pass
    ctypedef void (*cb_program)(void *argument, int thread, cb_team *team) noexcept nogil
    int cb_run(cb_program program, void *argument, int threads) noexcept
    int cb_team_size(const cb_team *team) noexcept
    void cb_barrier(cb_team *team) noexcept
    unsigned cb_float_enter() noexcept
    void cb_float_leave(unsigned saved) noexcept
    double cb_seconds() noexcept

cdef extern from "unpack.h" nogil:
    void cb_unpack_f32(const void *panels, cb_index n_in, cb_index n_out, void *w,
                       void *b) noexcept
    void cb_unpack_f64(const void *panels, cb_index n_in, cb_index n_out, void *w,
                       void *b) noexcept

    void cb_pack_f32(const void *w, const void *b, cb_index n_in, cb_index n_out,
                     void *panels) noexcept
    void cb_pack_f64(const void *w, const void *b, cb_index n_in, cb_index n_out,
                     void *panels) noexcept

cdef extern from "targets.h" nogil:
    ctypedef struct cb_targets:
        int fit, binary, one_hot
    cb_targets cb_look_at_targets(const cb_rows *y, cb_index m, double low, double high,
                                  int bits) noexcept
    void cb_variance(const cb_rows *y, cb_index m, double *variance) noexcept
    int cb_labels(const void *data, ptrdiff_t stride, int size, int is_signed, cb_index m,
                  int64_t count, int32_t *labels) noexcept

cdef extern from "pages.h" nogil:
    void cb_use_large_pages(void *begin, size_t n_bytes) noexcept
    const cb_index CB_WALL
    void cb_forbid(void *begin, size_t n_bytes) noexcept

cdef extern from "turns.h" nogil:
    void cb_wait_for_turn(const int64_t *turn, int64_t mine) noexcept
    void cb_raise_flag(int *flag) noexcept
    int cb_is_raised(const int *flag) noexcept
    void cb_end_turn(int64_t *turn, int64_t next) noexcept

cdef extern from "readers.h" nogil:
    int cb_enter_shared(int *count) noexcept
    void cb_leave_shared(int *count) noexcept
    int cb_enter_alone(int *count) noexcept
    void cb_leave_alone(int *count) noexcept
    int cb_is_alone(const int *count) noexcept

cdef extern from "rng.h" nogil:
    enum cb_purpose: CB_FOR_WEIGHTS, CB_FOR_SHUFFLE, CB_FOR_DROPOUT, CB_FOR_NOISE
    ctypedef struct cb_random:
        uint64_t key
        uint32_t purpose, stream
    void cb_philox(cb_random r, uint64_t index, uint32_t *word) noexcept
    void cb_shuffle(cb_random r, int64_t *index, int64_t n) noexcept
    void cb_normal_pair(cb_random r, uint64_t index, double *pair) noexcept
    void cb_normal(cb_random r, double *out, int64_t n) noexcept
    void cb_uniform(cb_random r, double *out, int64_t n) noexcept


cdef struct Pass:
    # A mini-batch on its way through the network, as every thread of the team sees it.
    const cb_kernels *kernels
    cb_layer *layer         # [L + 1], the book's l; of layer[0] only n_out and a count
    cb_index L
    cb_cost_function cost
    int stable              # the output error is a - y for this activation and cost
    int score               # enum cb_score
    void *y                 # [m][layer[L].ld_out]
    double *costs           # [m]: C of each sample
    double *scores          # [m]
    void **scratch          # [threads]: a transposed block of w, or blocked inputs of BP4
    cb_dropout dropout      # what the layers' dropout points to, and
    const cb_dropout *noise     # this; or NULL: the input has none
    const int *failed       # whether a function of the user's has raised; or NULL


cdef inline cb_index part(cb_index n, cb_index parts, cb_index i) noexcept nogil:
    # Where part i begins when n things are shared out evenly over `parts`.
    return n * i // parts


cdef inline cb_index parts_of(cb_index n, cb_index most) noexcept nogil:
    # The number of even parts of n that are no larger than `most`.
    return (n + most - 1) // most


cdef enum:
    INPUTS_BYTES = 400_000      # a part of the L2 cache


cdef inline cb_index inputs_at_once(const cb_kernels *k, cb_index m) noexcept nogil:
    # Rows of tiles whose inputs BP4 lays out together.
    return max(<cb_index>1, INPUTS_BYTES // (k.tile_rows * m * k.itemsize))


cdef inline cb_index inputs_room(const cb_kernels *k, const cb_layer *l, cb_index m) noexcept nogil:
    # Bytes that they need in mini-batches of up to m: of fewer samples there are more of them.
    cdef cb_index each = k.tile_rows * m * k.itemsize, most = INPUTS_BYTES
    return min(parts_of(l.n_in + 1, k.tile_rows) * each, max(most, each)) + CB_PANEL * k.itemsize


cdef inline bint is_blocked(const cb_kernels *k, const cb_layer *l, cb_index m) noexcept nogil:
    # Whether BP4 lays its operands out for the tiles: where they do not stay in the cache
    # and there are enough tiles in a row to be worth it.
    return m * l.ld_in * k.itemsize > 700_000 and l.n_out >= 4 * k.tile_cols
