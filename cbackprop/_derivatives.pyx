# cython: language_level=3, cdivision=True, freethreading_compatible=True
"""The four equations for all rows as one mini-batch, nothing updated: `Network.gradients`,
and `pullback`, where dC/da of the output layer is the caller's."""
from collections.abc import Sequence
from math import fsum

from numpy import empty, ndarray

from cpython.buffer cimport PyBuffer_Release
from cython cimport critical_section
from libc.math cimport NAN
from libc.stdint cimport int32_t
from libc.string cimport memcpy

from cbackprop._engine cimport (EVERYTHING, Engine, Rows, Targets, Workspace, address, barrier,
                                float_enter, float_leave, load, look_at, run, team_size)
from cbackprop._error_propagation cimport propagate_error
from cbackprop._forward cimport forward
from cbackprop._gate cimport are_plain, as_indices, take_targets
from cbackprop._gradients cimport gradients
from cbackprop._job cimport clear_absent
from cbackprop._kernels cimport (CB_STORE, Pass, cb_enter_shared, cb_index, cb_layer,
                                 cb_leave_shared, cb_look_at_targets, cb_rows, cb_team,
                                 cb_unpack_f32, cb_unpack_f64, cb_update, part)
from cbackprop._output_error cimport given_error, measure, output_error

cdef enum:
    # Of all samples: below half of _threads.WORTH_A_SECOND_THREAD with the six of all equations.
    MOST_PRODUCTS = 3_000_000

cdef enum:
    Z = 0
    A = 1
    DELTA = 2


cdef struct Derivation:
    const Pass *p
    const cb_rows *x
    const cb_rows *y        # targets; or dC/da, where given
    const int32_t *labels
    cb_index m
    bint given
    const double *weights
    double mass
    int non_finite


cdef void derive_program(void *argument, int thread, cb_team *team) noexcept nogil:
    cdef Derivation *d = <Derivation *>argument
    cdef int threads = team_size(team)
    cdef cb_index first = part(d.m, threads, thread), last = part(d.m, threads, thread + 1)
    cdef cb_update update = cb_update(CB_STORE, 0, 0, d.mass)
    cdef const cb_layer *output = &d.p.layer[d.p.L]
    load(d.p, d.x, d.y, d.labels, NULL, first, last, &d.non_finite)
    clear_absent(d.p, d.weights, NULL, first, last)
    forward(d.p, first, last)
    if d.given:
        given_error(d.p, first, last)
    else:
        measure(d.p, first, last)
        output_error(d.p, first, last)
    if d.weights != NULL:
        d.p.kernels.weigh(output, d.weights, NULL, first, last - first)
    propagate_error(d.p, thread, first, last)
    barrier(team)
    gradients(d.p, d.m, thread, threads, &update, NULL)


def derive(Engine engine not None, Rows x not None, Targets y not None, bint given, weights,
           int threads):
    """BP1 to BP4 for x (m, n_0) and targets y, or y = dC/da of each sample where given; weights:
    float64 (m,) of the samples, or None. Returns the mean cost (NaN where given), then sequences
    with one entry a layer: nabla_w, nabla_b, z, a (and the input), delta; None where x is not
    finite."""
    cdef Workspace w = engine.workspace(x.n, threads, EVERYTHING, 0)
    cdef Derivation d = Derivation(&w.p, &x.rows, y.rows(), y.labels, x.n, given, NULL, x.n, 0)
    if weights is not None:
        d.weights, d.mass = <const double *>address(weights), fsum(weights)
    return derivatives(engine, w, &d, threads)


def quick(Engine engine not None, x, y, bint given, double low, double high, classes):
    """As derive where nothing is to be said or asked: ndarrays that are read in place, finite, y
    from low to high or labels that are indices, so little work that one thread does it, nobody
    training. Else None."""
    cdef Py_buffer x_buffer, y_buffer
    cdef cb_rows rows, targets
    if type(x) is not ndarray or type(y) is not ndarray or not look_at(x, &x_buffer, &rows):
        return None
    try:
        if not take_targets(y, &y_buffer, &targets):
            return None
        try:
            if not cb_enter_shared(&engine.users):
                return None
            try:
                rows.bias, rows.scale, rows.shift = 1, engine.scale, engine.shift
                return quickly(engine, &rows, x_buffer.shape[0], &targets, &y_buffer, given, low,
                               high, classes)
            finally:
                cb_leave_shared(&engine.users)
        finally:
            PyBuffer_Release(&y_buffer)
    finally:
        PyBuffer_Release(&x_buffer)


cdef quickly(Engine engine, const cb_rows *x, cb_index m, const cb_rows *y,
             const Py_buffer *y_buffer, bint given, double low, double high, classes):
    cdef cb_index n = engine.layer[engine.L].n_out, count = max(n, 2)
    cdef bint are_labels = y.data == NULL
    cdef int32_t *labels = NULL
    if (x.width != engine.layer[0].n_out or y_buffer.shape[0] != m or engine.in_python
            or not 0 < m <= MOST_PRODUCTS // engine.products):
        return None
    if are_labels:
        if given:
            return None
    elif (y.width != n or (y_buffer.ndim == 1 and classes is not None and not given)
            or not cb_look_at_targets(y, m, low, high, 8 * engine.kernels.itemsize).fit):
        return None
    cdef Workspace w = engine.workspace(m, 1, EVERYTHING, 0)
    if are_labels:
        labels = <int32_t *>w.room(4 * max(m, count))
        if not ((classes is None or are_plain(classes, count, labels))
                and as_indices(y_buffer, count, labels)):
            engine.put_back(w)
            return None
    cdef Derivation d = Derivation(&w.p, x, y, labels, m, given, NULL, m, 0)
    if are_labels:
        d.y = NULL
    return derivatives(engine, w, &d, 1)


cdef derivatives(Engine engine, Workspace w, Derivation *d, int threads):
    cdef unsigned saved
    cdef cb_index i, l
    cdef double cost = 0
    cdef const cb_layer *at
    with nogil:
        saved = float_enter()
        run(derive_program, d, threads)
        float_leave(saved)
    loan = Loan(engine, w, d.m)
    engine.check()
    if d.non_finite:
        return None
    for i in range(0 if d.given else d.m):
        if d.weights == NULL:
            cost += w.p.costs[i]
        elif d.weights[i] != 0:
            cost += d.weights[i] * w.p.costs[i]
    nabla_w, nabla_b = [], []
    for l in range(1, engine.L + 1):
        at = &w.p.layer[l]
        of_w, of_b = empty((at.n_out, at.n_in), engine.dtype), empty(at.n_out, engine.dtype)
        (cb_unpack_f32 if engine.kernels.itemsize == 4 else cb_unpack_f64)(
            at.nabla, at.n_in, at.n_out, <void *>address(of_w), <void *>address(of_b))
        nabla_w.append(of_w)
        nabla_b.append(of_b)
    return (NAN if d.given else cost / d.mass, nabla_w, nabla_b, Planes(loan, Z), Planes(loan, A),
            Planes(loan, DELTA))


cdef class Loan:
    """A workspace whose planes may still be read; it goes back when nobody can."""
    cdef Engine engine
    cdef Workspace w
    cdef cb_index m

    def __cinit__(self, Engine engine, Workspace w, cb_index m):
        self.engine, self.w, self.m = engine, w, m

    def __dealloc__(self):
        if self.engine is not None and self.w is not None:
            self.engine.put_back(self.w)


cdef class Planes:
    """The z, a or delta (m, n_l) of every layer, copied out of the workspace at first use:
    few callers look at them."""
    cdef Loan loan
    cdef int kind
    cdef list arrays

    def __cinit__(self, Loan loan, int kind):
        self.loan, self.kind = loan, kind

    cdef list all(self):
        cdef cb_index l
        with critical_section(self):
            if self.arrays is None:
                self.arrays = [plane(self.loan, self.kind, l)
                               for l in range(self.kind != A, self.loan.engine.L + 1)]
                self.loan = None
            return self.arrays

    def __len__(self):
        return len(self.all())

    def __getitem__(self, index):
        return self.all()[index]

    def __iter__(self):
        return iter(self.all())

    def __repr__(self):
        return repr(self.all())

    def __reduce__(self):
        return list, (self.all(),)


Sequence.register(Planes)


cdef plane(Loan loan, int kind, cb_index l):
    # The rows are padded in the workspace.
    cdef const cb_layer *at = &loan.w.p.layer[l]
    cdef const char *rows = <const char *>(at.z if kind == Z else at.a if kind == A else at.delta)
    cdef cb_index s, item = loan.engine.kernels.itemsize, width = at.n_out * item
    out = empty((loan.m, at.n_out), loan.engine.dtype)
    cdef char *to = <char *>address(out)
    for s in range(loan.m):
        memcpy(to + s * width, rows + s * at.ld_out * item, width)
    return out
