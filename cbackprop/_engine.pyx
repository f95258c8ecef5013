# cython: language_level=3, cdivision=True, freethreading_compatible=True
"""The network as the compiled core keeps it: parameters in one arena, the memory of a
mini-batch, and the passes that do not train. Arguments come here checked."""
import numpy

from cpython.buffer cimport (PyBUF_FORMAT, PyBUF_STRIDED_RO, PyBuffer_Release,
                             PyObject_GetBuffer)
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t, uintptr_t
from libc.string cimport memcpy

from cbackprop._error_propagation cimport propagate_error
from cbackprop._forward cimport forward
from cbackprop._gradients cimport gradients
from cbackprop._kernels cimport (CB_FLOAT32, CB_FLOAT64, CB_FOR_WEIGHTS, CB_PANEL,
                                 CB_SQUARED_ERROR, CB_STORE, CB_UINT8, Pass, cb_barrier,
                                 cb_float_enter, cb_float_leave, cb_index, cb_kernels,
                                 cb_kernels_choose, cb_kernels_in_use, cb_kernels_named,
                                 cb_layer, cb_normal, cb_program, cb_random, cb_rows, cb_run,
                                 cb_seconds, cb_shuffle, cb_team, cb_team_size, cb_uniform,
                                 cb_update, inputs_at_once, is_blocked, part, parts_of)
from cbackprop._output_error cimport measure, output_error

cdef enum:
    ALIGNMENT = 128
    # kinds of workspace
    INFERENCE = 0
    TRAINING = 1
    EVERYTHING = 2          # every z, delta and gradient kept apart, for the user to read


# ---- the core's pool, clock and shuffle, for _training -------------------------------

cdef int run(cb_program program, void *argument, int threads) noexcept nogil:
    return cb_run(program, argument, threads)

cdef int team_size(const cb_team *team) noexcept nogil:
    return cb_team_size(team)

cdef void barrier(cb_team *team) noexcept nogil:
    cb_barrier(team)

cdef unsigned float_enter() noexcept nogil:
    return cb_float_enter()

cdef void float_leave(unsigned saved) noexcept nogil:
    cb_float_leave(saved)

cdef double seconds() noexcept nogil:
    return cb_seconds()

cdef void shuffle(cb_random r, int64_t *index, int64_t n) noexcept nogil:
    cb_shuffle(r, index, n)


# ---- kernel tables and random numbers -------------------------------------------------

def choose_kernels(str name):
    """Cap the kernel table; -1: no such name, -2: not on this CPU or in this build."""
    return cb_kernels_choose(name.encode())


def kernels_in_use():
    """Name of the kernel table in use."""
    return cb_kernels_in_use(32).name.decode()


def kernel_names():
    """Names of the tables that this CPU and build can run, widest first."""
    return [name for name in ("avx512", "avx2", "neon", "portable")
            if cb_kernels_named(name.encode(), 32) != NULL]


def vector_function(str name, x):
    """exp, log, tanh, sigmoid or log1p of an array by the table in use; for the tests."""
    which = ["exp", "log", "tanh", "sigmoid", "log1p"].index(name)
    cdef const cb_kernels *k = cb_kernels_in_use(8 * x.dtype.itemsize)
    x = numpy.ascontiguousarray(x)
    y = numpy.empty_like(x)
    k.function(which, <const void *>address(x), <void *>address(y), x.size)
    return y


def random_normal(uint64_t key, uint32_t stream, int64_t n):
    """n samples of N(0, 1), float64: those of the weights of layer `stream`."""
    out = numpy.empty(n)
    cb_normal(cb_random(key, CB_FOR_WEIGHTS, stream), <double *>address(out), n)
    return out


def random_uniform(uint64_t key, uint32_t stream, int64_t n):
    """n samples uniform in (0, 1), float64: those of the weights of layer `stream`."""
    out = numpy.empty(n)
    cb_uniform(cb_random(key, CB_FOR_WEIGHTS, stream), <double *>address(out), n)
    return out


# ---- memory ---------------------------------------------------------------------------

cdef uintptr_t address(array) except? 0:
    return <uintptr_t><object>array.__array_interface__["data"][0]


cdef cb_index row_stride(cb_index n) noexcept nogil:
    # n elements, the constant 1, then padding to an odd number of panels, so that rows
    # of a power of two do not share cache sets.
    return (parts_of(n + 1, CB_PANEL) | 1) * CB_PANEL


cdef cb_index panel_bytes(const cb_kernels *k, cb_index n_in, cb_index n_out) noexcept nogil:
    return parts_of(n_out, CB_PANEL) * (n_in + 1) * CB_PANEL * k.itemsize


def _arena(counts):
    # One zeroed allocation for all parts; each starts at a multiple of ALIGNMENT.
    offsets = [0]
    for count in counts:
        offsets.append(offsets[-1] + parts_of(count, ALIGNMENT) * ALIGNMENT)
    memory = numpy.zeros(offsets[-1] + ALIGNMENT, numpy.uint8)
    skip = -address(memory) % ALIGNMENT
    return memory[skip:skip + offsets[-1]], offsets


cdef class Rows:
    """The user's matrix (n, width), uint8, float32 or float64, read where it lies."""

    def __cinit__(self, array, bint bias=False, scale=None, shift=None):
        PyObject_GetBuffer(array, &self.buffer, PyBUF_STRIDED_RO | PyBUF_FORMAT)
        self.n = self.buffer.shape[0]
        self.scale, self.shift = scale, shift
        types = {b"B": CB_UINT8, b"f": CB_FLOAT32, b"d": CB_FLOAT64}
        self.rows = cb_rows(self.buffer.buf, self.buffer.strides[0], self.buffer.strides[1],
                            self.buffer.shape[1], types[self.buffer.format], bias, NULL, NULL)
        if scale is not None:
            self.rows.scale = <const void *>address(scale)
            self.rows.shift = <const void *>address(shift)

    def __dealloc__(self):
        PyBuffer_Release(&self.buffer)


cdef class Targets:
    """What the outputs should be: int32 class indices (n,), or rows (n, n_L)."""

    def __cinit__(self, array):
        if array.ndim == 1:
            PyObject_GetBuffer(array, &self.buffer, PyBUF_STRIDED_RO)
            self.labels = <const int32_t *>self.buffer.buf
        else:
            self.dense = Rows(array)

    def __dealloc__(self):
        if self.labels:
            PyBuffer_Release(&self.buffer)

    cdef const cb_rows *rows(self) noexcept:
        return NULL if self.dense is None else &self.dense.rows


cdef class Workspace:
    """The memory of one mini-batch of up to m samples."""

    def __cinit__(self, Engine engine, cb_index m, int threads, int kind, int score):
        cdef cb_index l, L = engine.L, item = engine.kernels.itemsize, scratch = 0
        cdef cb_index columns, tiles
        cdef cb_layer *at
        cdef char *base
        self.m, self.threads, self.kind = m, threads, kind
        names, counts = [], []

        def take(name, count):
            names.append(name)
            counts.append(count)

        take("layers", (L + 1) * sizeof(cb_layer))
        take("scratch pointers", threads * sizeof(void *))
        take("costs", m * sizeof(double))
        take("scores", m * sizeof(double)
             * (engine.layer[L].n_out if score == CB_SQUARED_ERROR else 1))
        take("y", m * engine.layer[L].ld_out * item)
        for l in range(L + 1):
            plane = m * engine.layer[l].ld_out * item
            take(("a", l), plane)
            if l > 0 and (l == L or kind == EVERYTHING):
                take(("z", l), plane)
            if l > 0 and (l == L or kind != INFERENCE):
                take(("delta", l), plane)
            if l > 0 and kind == EVERYTHING:
                take(("nabla", l), panel_bytes(engine.kernels, engine.layer[l].n_in,
                                               engine.layer[l].n_out))
            if l > 1:
                scratch = max(scratch, engine.layer[l].n_out * engine.kernels.tile_cols * item)
            if l > 0 and kind != INFERENCE and is_blocked(engine.kernels, &engine.layer[l], m):
                columns = parts_of(engine.layer[l].n_out, engine.kernels.tile_cols)
                take(("delta_block", l), columns * engine.kernels.tile_cols * m * item)
                tiles = min(inputs_at_once(engine.kernels, m),
                            parts_of(engine.layer[l].n_in + 1, engine.kernels.tile_rows))
                scratch = max(scratch, (tiles * engine.kernels.tile_rows * m + CB_PANEL) * item)
        for thread in range(threads if kind != INFERENCE else 0):
            take(("scratch", thread), scratch)

        self.arena, starts = _arena(counts)
        self.offsets = dict(zip(names, starts))
        base = <char *>address(self.arena)
        self.p = Pass(engine.kernels, <cb_layer *>base, L, engine.cost, engine.stable, score,
                      base + <cb_index>self.offsets["y"],
                      <double *>(base + <cb_index>self.offsets["costs"]),
                      <double *>(base + <cb_index>self.offsets["scores"]),
                      <void **>(base + <cb_index>self.offsets["scratch pointers"]))
        for thread in range(threads if kind != INFERENCE else 0):
            self.p.scratch[thread] = base + <cb_index>self.offsets["scratch", thread]
        for l in range(L + 1):
            at = &self.p.layer[l]
            at[0] = engine.layer[l]
            at.a = base + <cb_index>self.offsets["a", l]
            at.m = m
            if l > 0:
                at.a_in = self.p.layer[l - 1].a
                at.z = base + <cb_index>self.offsets.get(("z", l), self.offsets["a", l])
                at.delta = base + <cb_index>self.offsets.get(("delta", l), 0)
                at.nabla = base + <cb_index>self.offsets.get(("nabla", l), 0)
                if ("delta_block", l) in self.offsets:
                    at.delta_block = base + <cb_index>self.offsets["delta_block", l]


# ---- the programs that a team of threads runs -----------------------------------------

cdef void load(const Pass *p, const cb_rows *x, const cb_rows *y, const int32_t *labels,
               const int64_t *index, cb_index first, cb_index last,
               int *non_finite) noexcept nogil:
    # a^0 and y for samples first .. last - 1 of the mini-batch, gathered by index.
    cdef cb_layer *output = &p.layer[p.L]
    p.kernels.gather(x, index, first, last - first, p.layer[0].a, p.layer[0].ld_out, non_finite)
    if labels != NULL:
        p.kernels.one_hot(labels, index, first, last - first, p.y, output.ld_out, output.n_out)
    elif y != NULL:
        p.kernels.gather(y, index, first, last - first, p.y, output.ld_out, non_finite)


cdef struct Survey:
    # A forward pass over rows 0 .. n-1 in order, a chunk of the workspace's size at a time.
    const Pass *p
    const cb_rows *x
    const cb_rows *y
    const int32_t *labels
    cb_index n, chunk
    char *out               # (n, n_L) activations of the output layer, or NULL
    int measured            # cost and score are wanted, summed in the order of the samples
    double cost
    double *score           # [1], or [n_L]
    int non_finite


cdef void survey_chunk(Survey *s, int thread, cb_team *team, cb_index begin) noexcept nogil:
    cdef const Pass *p = s.p
    cdef cb_index m = min(s.chunk, s.n - begin), first, last, i, j, width
    cdef cb_layer *output = &p.layer[p.L]
    cdef cb_rows x = s.x[0], y
    cdef int threads = cb_team_size(team)
    # A thread keeps its rows of the workspace in a short last chunk too: another may still
    # be at the chunk before.
    first, last = (min(m, part(s.chunk, threads, thread)),
                   min(m, part(s.chunk, threads, thread + 1)))
    x.data = <const char *>x.data + begin * x.row_stride
    if s.y != NULL:
        y = s.y[0]
        y.data = <const char *>y.data + begin * y.row_stride
    load(p, &x, &y if s.y != NULL else NULL, s.labels + begin if s.labels != NULL else NULL,
         NULL, first, last, &s.non_finite)
    forward(p, first, last)
    if s.out != NULL:
        width = output.n_out * p.kernels.itemsize
        for i in range(first, last):
            memcpy(s.out + (begin + i) * width,
                   <char *>output.a + i * output.ld_out * p.kernels.itemsize, width)
    if s.measured:
        measure(p, first, last)
        cb_barrier(team)
        if thread == 0:
            width = output.n_out if p.score == CB_SQUARED_ERROR else 1
            for i in range(m):
                s.cost += p.costs[i]
                for j in range(width):
                    s.score[j] += p.scores[i * width + j]
        cb_barrier(team)


cdef void survey_program(void *argument, int thread, cb_team *team) noexcept nogil:
    cdef Survey *s = <Survey *>argument
    cdef cb_index chunk
    for chunk in range(parts_of(s.n, s.chunk)):
        survey_chunk(s, thread, team, chunk * s.chunk)


cdef struct Derivation:
    # One pass of the four equations over all samples, nothing updated.
    const Pass *p
    const cb_rows *x
    const cb_rows *y
    const int32_t *labels
    cb_index m
    int non_finite


cdef void derive_program(void *argument, int thread, cb_team *team) noexcept nogil:
    cdef Derivation *d = <Derivation *>argument
    cdef int threads = cb_team_size(team)
    cdef cb_index first = part(d.m, threads, thread), last = part(d.m, threads, thread + 1)
    cdef cb_update update = cb_update(CB_STORE, 0, 0, d.m)
    load(d.p, d.x, d.y, d.labels, NULL, first, last, &d.non_finite)
    forward(d.p, first, last)
    measure(d.p, first, last)
    output_error(d.p, first, last)
    propagate_error(d.p, thread, first, last)
    cb_barrier(team)
    gradients(d.p, d.m, thread, threads, &update, NULL)


cdef class Engine:
    """Sizes, functions and parameters of one network in one precision."""

    def __cinit__(self, sizes, activations, int cost, bint stable, int bits):
        cdef cb_index l
        self.kernels = cb_kernels_in_use(bits)
        self.sizes, self.activations = tuple(sizes), tuple(activations)
        self.L, self.cost, self.stable = len(sizes) - 1, cost, stable
        counts = [(self.L + 1) * sizeof(cb_layer)]
        for l in range(1, self.L + 1):
            counts.append(panel_bytes(self.kernels, sizes[l - 1], sizes[l]))
        self.arena, self.offsets = _arena(counts)
        self.layer = <cb_layer *>address(self.arena)
        self.parameters = <char *>self.layer + <cb_index>self.offsets[1]
        self.n_bytes = self.offsets[-1] - self.offsets[1]
        for l in range(self.L + 1):
            self.layer[l].n_out = sizes[l]
            self.layer[l].ld_out = row_stride(sizes[l])
            if l > 0:
                self.layer[l].n_in = sizes[l - 1]
                self.layer[l].ld_in = row_stride(sizes[l - 1])
                self.layer[l].activation = activations[l - 1]
                self.layer[l].w = <char *>self.layer + <cb_index>self.offsets[l]
        self.spare = []

    @property
    def dtype(self):
        return numpy.dtype(numpy.float32 if self.kernels.itemsize == 4 else numpy.float64)

    def panels(self, cb_index l):
        """w^l and b^l as they lie: a view (ceil(n_l/16), n_{l-1} + 1, 16)."""
        return _panels(self.arena, self.offsets[l], self.dtype, self.sizes[l - 1], self.sizes[l])

    cdef Workspace workspace(self, cb_index m, int threads, int kind, int score):
        # One that was used before if it fits: list.pop is atomic, so threads may ask.
        cdef Workspace w
        try:
            w = self.spare.pop()
        except IndexError:
            pass
        else:
            if (w.kind == kind and w.p.score == score and w.threads >= threads
                    and m <= w.m <= 2 * m):
                return w
        return Workspace(self, m, threads, kind, score)

    def survey(self, Rows x not None, Targets y, int score, out, int threads):
        """Forward over all rows: fills `out` (n, n_L) if given; with targets returns the
        sum of costs and the sums of scores, float64."""
        cdef cb_index chunk = min(x.n, <cb_index>96 * threads)
        cdef Workspace w = self.workspace(chunk, threads, INFERENCE, score)
        cdef Survey s = Survey(&w.p, &x.rows, NULL, NULL, x.n, chunk, NULL, y is not None,
                               0, NULL, 0)
        cdef unsigned saved
        sums = numpy.zeros(self.sizes[-1] if score == CB_SQUARED_ERROR else 1)
        s.score = <double *>address(sums)
        if y is not None:
            s.y, s.labels = y.rows(), y.labels
        if out is not None:
            s.out = <char *>address(out)
        with nogil:
            saved = cb_float_enter()
            cb_run(survey_program, &s, threads)
            cb_float_leave(saved)
        self.spare.append(w)
        return s.cost, sums, bool(s.non_finite)

    def derive(self, Rows x not None, Targets y not None, int score, int threads):
        """BP1 to BP4 for all rows as one mini-batch. Returns costs (m,), then per layer
        a (L + 1), z, delta (L), nabla_w, nabla_b (L), and whether x was not finite."""
        cdef Workspace w = Workspace(self, x.n, threads, EVERYTHING, score)
        cdef Derivation d = Derivation(&w.p, &x.rows, y.rows(), y.labels, x.n, 0)
        cdef unsigned saved
        with nogil:
            saved = cb_float_enter()
            cb_run(derive_program, &d, threads)
            cb_float_leave(saved)

        def plane(name, cb_index l):
            start, ld = w.offsets[name, l], self.layer[l].ld_out
            values = w.arena[start:start + x.n * ld * self.kernels.itemsize].view(self.dtype)
            return values.reshape(x.n, ld)[:, :self.sizes[l]].copy()

        layers = range(1, self.L + 1)
        start = w.offsets["costs"]
        costs = w.arena[start:start + 8 * x.n].view(numpy.float64).copy()
        nabla = [unpack(_panels(w.arena, w.offsets["nabla", l], self.dtype, self.sizes[l - 1],
                                self.sizes[l]), self.sizes[l]) for l in layers]
        return (costs, [plane("a", l) for l in range(self.L + 1)],
                [plane("z", l) for l in layers], [plane("delta", l) for l in layers],
                [pair[0] for pair in nabla], [pair[1] for pair in nabla], bool(d.non_finite))


cdef _panels(arena, start, dtype, n_in, n_out):
    shape = (parts_of(n_out, CB_PANEL), n_in + 1, CB_PANEL)
    count = shape[0] * shape[1] * CB_PANEL * dtype.itemsize
    return arena[start:start + count].view(dtype).reshape(shape)


def unpack(panels, n_out):
    """w (n_out, n_in) and b (n_out,) from panels (ceil(n_out/16), n_in + 1, 16); copies."""
    both = panels.transpose(0, 2, 1).reshape(-1, panels.shape[1])[:n_out]
    return both[:, :-1].copy(), both[:, -1].copy()


def pack(w, b, panels):
    """Writes w (n_out, n_in) and b (n_out,) into the panels."""
    both = numpy.zeros((panels.shape[0] * panels.shape[2], panels.shape[1]), panels.dtype)
    both[:len(w), :-1] = w
    both[:len(w), -1] = b
    panels[...] = both.reshape(panels.shape[0], panels.shape[2], -1).transpose(0, 2, 1)
