# cython: language_level=3, cdivision=True, freethreading_compatible=True
"""What an optimiser remembers, and one step with gradients from anywhere."""
from numpy import ndarray

from libc.math cimport INFINITY

from cpython.buffer cimport (PyBUF_C_CONTIGUOUS, PyBUF_FORMAT, PyBuffer_Release,
                             PyObject_GetBuffer)

from cbackprop._engine cimport Engine, address, float_enter, float_leave, new_arena, panels_of
from cbackprop._kernels cimport (Pass, cb_index, cb_layer, cb_pack_f32, cb_pack_f64, cb_update)


cdef class State:
    """Planes laid out like the parameters of an engine, zero but for Rprop's first steps."""

    def __cinit__(self, Engine engine not None, rule, double eta):
        cdef int k
        self.engine, self.name, self.planes = engine, rule.name, rule.planes
        self.steps, self.product = 0, 1
        self.arena = new_arena(self.planes * engine.n_bytes)
        self.at = <char *>address(self.arena)
        for k, first in enumerate(rule.first(eta)):
            self.arena[k * engine.n_bytes:(k + 1) * engine.n_bytes].view(engine.dtype)[:] = first

    cdef void lend(self, const Pass *p) noexcept:
        # To the layers of a mini-batch's workspace.
        cdef cb_index l
        for l in range(1, p.L + 1):
            p.layer[l].state = self.at + (<char *>self.engine.layer[l].w
                                          - self.engine.parameters) if self.planes else NULL
            p.layer[l].plane, p.layer[l].planes = self.engine.n_bytes, self.planes

    def panels(self, int k, cb_index l):
        """Plane k for w^l and b^l as they lie: a view (ceil(n_l/16), n_{l-1} + 1, 16)."""
        cdef Engine e = self.engine
        start = k * e.n_bytes + <cb_index>(<char *>e.layer[l].w - e.parameters)
        return panels_of(self.arena, start, e.dtype, e.sizes[l - 1], e.sizes[l])


cdef Descent descent_of(State state, rule, double eta):
    cdef Rule r
    (r.code, r.beta1, r.beta2, r.eps, r.low, r.high, r.slowing, r.drift,
     r.weight_decay) = rule.row
    return Descent(r, eta, 0, 0, INFINITY, state.planes, state.at, state.steps, state.product)


cdef bint fits(array, char kind, cb_index rows, cb_index columns) except -1:
    # A C-contiguous ndarray (rows, columns), or (rows,) where columns is 0.
    cdef Py_buffer b
    cdef bint fit = type(array) is ndarray
    if fit:
        try:
            PyObject_GetBuffer(array, &b, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT)
        except (ValueError, BufferError):
            fit = False
    if not fit:
        return False
    fit = (b.format[0] == kind and b.format[1] == 0 and b.shape[0] == rows
           and b.ndim == 1 + (columns > 0) and (columns == 0 or b.shape[1] == columns))
    PyBuffer_Release(&b)
    return fit


def in_order(Engine engine not None, nabla_w, nabla_b):
    """Whether these are lists of C-contiguous gradients of the engine's dtype and shapes."""
    cdef cb_index l
    cdef char kind = b"f" if engine.kernels.itemsize == 4 else b"d"
    if (type(nabla_w) is not list or type(nabla_b) is not list or len(nabla_w) != engine.L
            or len(nabla_b) != engine.L):
        return False
    for l in range(1, engine.L + 1):
        if (not fits(nabla_w[l - 1], kind, engine.layer[l].n_out, engine.layer[l].n_in)
                or not fits(nabla_b[l - 1], kind, engine.layer[l].n_out, 0)):
            return False
    return True


def apply_gradients(Engine engine not None, here, State state not None, rule, double eta,
                    nabla_w, nabla_b):
    """One step with C-contiguous gradients of the engine's dtype and shapes; the position's
    steps and optimiser follow. False, with nothing changed, where they are not finite."""
    cdef cb_index l
    cdef Descent d = descent_of(state, rule, eta)
    cdef cb_update u
    cdef cb_layer layer
    cdef char *nabla
    cdef unsigned saved
    cdef bint finite
    if engine.gradient_arena is None:
        engine.gradient_arena = new_arena(engine.n_bytes)
    nabla = <char *>address(engine.gradient_arena)
    for l in range(1, engine.L + 1):
        (cb_pack_f32 if engine.kernels.itemsize == 4 else cb_pack_f64)(
            <void *>address(nabla_w[l - 1]), <void *>address(nabla_b[l - 1]),
            engine.layer[l].n_in, engine.layer[l].n_out,
            nabla + (<char *>engine.layer[l].w - engine.parameters))
    with nogil:
        finite = engine.kernels.all_finite(nabla, engine.n_bytes // engine.kernels.itemsize)
        if finite:
            next_step(&d, 1, &u)
            saved = float_enter()
            for l in range(1, engine.L + 1):
                layer = engine.layer[l]
                layer.nabla = nabla + (<char *>layer.w - engine.parameters)
                layer.plane = engine.n_bytes
                layer.state = d.state + (<char *>layer.w - engine.parameters)
                engine.kernels.apply(&layer, 0, layer.n_in + 1, 0, layer.n_out, &u)
            float_leave(saved)
    if finite:
        state.steps, state.product = d.steps, d.product
        here.steps += 1
        here.optimizer = state
    return finite
