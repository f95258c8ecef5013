from libc.stdint cimport int32_t, int64_t, uint64_t

from cbackprop._bf16 cimport Rounding
from cbackprop._kernels cimport Pass, cb_ahead, cb_dropout, cb_index, cb_rows
from cbackprop._pace cimport MOST_THREADS
from cbackprop._signals cimport Looks
from cbackprop._updates cimport Descent


cdef enum Status:
    RUNNING = 0
    COMPLETE = 1
    INTERRUPTED = 2         # a signal handler raised
    DIVERGED = 3            # a parameter or the cost is not finite after an epoch; rolled back
    BAD_INPUT = 4           # a value of X or y is not finite; rolled back
    PAUSED = 5              # the slice is over: time to choose the number of threads
    STOPPED = 6             # a callback said so
    ELSEWHERE = 7           # another process stops


cdef enum:
    TURN = 16               # numbers from one turn to the next: a cache line apart, and more


cdef struct Job:
    Pass p
    const Rounding *rounding    # of products in bfloat16; or NULL
    const cb_rows *x
    const cb_rows *y
    const int32_t *labels
    cb_rows targets         # y, or the labels as if they were one: where the next ones lie
    int64_t *index          # [n]: the permutation of this epoch
    const int64_t *chosen   # [n]: the rows to train on, or NULL: all
    const double *weights   # of the samples, by row; or NULL: 1
    const int64_t *weighed  # [n]: the row whose weight a sample of the epoch has
    double total            # their sum over the epoch, or n
    cb_index n, batch_size
    const double *etas      # learning rates [etas_epochs][etas_per_epoch]; the last ones stay
    cb_index etas_epochs, etas_per_epoch
    double clip_norm        # of the whole gradient; or infinity
    double *panel_squares   # [panels]: room for it
    double max_norm         # of the weights into a neuron; or infinity
    uint64_t key
    int shuffled
    # of an epoch whose rows come in blocks: which block this is, what came before it
    cb_index block, batches_before, rows_before
    int goes_on             # the epoch is not over at the end of the block
    # of threads that own columns, or take chunks in turn; own[0] of owners is p
    const Pass *own[MOST_THREADS]
    cb_index chunk          # samples of a turn
    cb_dropout *dropouts[MOST_THREADS]
    cb_dropout *dropout     # of p
    void *a_shared[2]       # of owners: a^1, in turn
    cb_index tail_bytes     # of the weights after layer 1
    cb_index tail_planes    # of the optimiser's state for them
    # of processes that share each mini-batch out: which one this is, of how many
    cb_index rank, ranks
    int together            # each sums all samples, in order: the bits of one process
    void *meeting           # called between the passes: (samples, wish to stop) -> what to do
    int leaving             # the status to stop with at the next meeting, or RUNNING
    void *sums              # of BP3 and BP4, laid out like the parameters; and
    cb_index sums_bytes
    # what the threads agree on, written between two barriers
    char apart[128]         # what is written lies apart from what is only read
    int stop, ended
    int is_new              # the epoch: its snapshot is still to be made
    int broken              # a parameter or what the optimiser remembers is not finite
    int stops[2]            # of owners: stop before this mini-batch, before the next; in turn
    int non_finite
    char apart_too[128]
    int64_t *turn           # [L + 1][TURN]: chunks of this call whose layer l is summed; 0: costs
    # where we are; thread 0 alone
    int first_epoch, in_epoch
    cb_index epoch, batch, epochs_left, done, steps
    Descent descent         # its steps and product are those of mini-batch `batch`
    double cost_sum
    double *score_sum       # [1], or [n_L]
    double *error_squares   # [neurons after the input], and how many samples
    double *costs           # results, one for each epoch of this call
    double *scores
    double *error_norms     # [epochs][L]
    double *dead            # [epochs][L]
    double *seconds
    double epoch_began
    double slice_began, slice_end
    cb_index slice_batches, slice_samples
    char *parameters
    char *snapshot          # parameters and state as they were when the epoch began
    cb_index n_bytes
    Descent kept            # likewise
    unsigned environment    # the caller's float environment
    Looks looks             # for signals
    void *pending           # a list to put an exception in
    const int *brake        # raised by others: stop after this mini-batch; or NULL
    void *on_batch          # called after each mini-batch, True stops; or NULL


cdef class Brake:
    cdef int raised


cdef void enter_epoch(Job *job) noexcept nogil
cdef void keep_share(Job *job, int thread, int threads) noexcept nogil
cdef void check_share(Job *job, int thread, int threads) noexcept nogil
cdef void meet(Job *job, cb_index m) noexcept nogil


cdef inline double rate_of(const Job *job, cb_index batch) noexcept nogil:
    cdef cb_index one = 1
    return job.etas[min(job.done, job.etas_epochs - one) * job.etas_per_epoch
                    + min(batch, job.etas_per_epoch - one)]


cdef void sum_costs(Job *job, const Pass *p, const int64_t *index, cb_index m) noexcept nogil
cdef void sum_squares(Job *job, const Pass *p, const int64_t *index, cb_index m, int thread,
                      int threads) noexcept nogil
cdef double mass_of(const Job *job, cb_index batch, cb_index m) noexcept nogil
cdef void clear_absent(const Pass *p, const double *weights, const int64_t *index, cb_index first,
                       cb_index last) noexcept nogil
cdef void weigh(const Job *job, const Pass *p, cb_index at, cb_index first,
                cb_index last) noexcept nogil
cdef void end_batch(Job *job, cb_index m, const Descent *descent) noexcept nogil
cdef void end_epoch(Job *job) noexcept nogil
cdef void roll_back(Job *job) noexcept nogil
