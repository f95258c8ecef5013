# cython: language_level=3, cdivision=True, freethreading_compatible=True
"""The network as the compiled core keeps it: parameters in one arena, the memory of a
mini-batch, and the passes that do not train. Arguments come here checked."""
from threading import Lock
from time import sleep

import numpy
from numpy import empty, ndarray

from cpython.buffer cimport (PyBUF_FORMAT, PyBUF_STRIDED_RO, PyBuffer_Release,
                             PyObject_GetBuffer)
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t, uintptr_t
from libc.string cimport memcpy

from cbackprop._forward cimport forward
from cbackprop._kernels cimport (CB_ALIGNMENT, CB_DROPS, CB_FEW_ROWS, CB_FLOAT32, CB_FLOAT64,
                                 CB_FOR_DROPOUT, CB_FOR_SHUFFLE, CB_FOR_WEIGHTS, CB_PANEL,
                                 CB_SQUARED_ERROR, CB_UINT8, CB_WALL, Pass, cb_barrier,
                                 cb_bf16_kernels_of, cb_dropout, cb_enter_alone, cb_enter_shared,
                                 cb_float_enter, cb_float_leave, cb_forbid, cb_index, cb_is_alone,
                                 cb_kernels, cb_kernels_choose, cb_kernels_in_use,
                                 cb_kernels_named, cb_layer, cb_leave_alone, cb_leave_shared,
                                 cb_needs_z, cb_normal, cb_own, cb_philox, cb_program, cb_random,
                                 cb_rows, cb_run, cb_seconds, cb_shuffle, cb_team, cb_team_size,
                                 cb_uniform, cb_use_large_pages, inputs_room, is_blocked, part,
                                 parts_of)
from cbackprop._output_error cimport measure

cdef enum:
    LARGE_PAGE = 2 << 20
    SOME_SMALL_PAGES = 64 << 10
    KEPT_BYTES = 4_000_000
    # products: below _threads.WORTH_A_SECOND_THREAD; and so few microseconds that giving the
    # GIL away and waiting for it costs more
    MOST_QUICK = 9_000_000
    MOST_WITH_GIL = 200_000


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
    """A function of vecmath.h or specialmath.h by the table in use; for the tests."""
    which = ["exp", "log", "tanh", "sigmoid", "log1p", "expm1", "sin", "cos",
             "normal"].index(name)
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


cdef uint64_t key_of_block(uint64_t key, int64_t block) noexcept nogil:
    # Of the order of its rows; block 0 is also all of data that come in one piece.
    return key + <uint64_t>0x9E3779B97F4A7C15 * <uint64_t>block


def order(uint64_t key, uint32_t epoch, int64_t n, int64_t block=0):
    """The rows (n,) of a block in that epoch's order, int64."""
    out = numpy.empty(n, numpy.int64)
    shuffle(cb_random(key_of_block(key, block), CB_FOR_SHUFFLE, epoch), <int64_t *>address(out), n)
    return out


def dropout_mask(uint64_t key, uint32_t epoch, uint64_t position, uint64_t draws,
                 uint64_t first_draw, uint32_t drop, int64_t n):
    """The mask (n,) of one sample and layer as `src/dropout.h` defines it; for the tests."""
    mask = numpy.empty(parts_of(n, CB_DROPS) * CB_DROPS)
    cdef uint32_t word[4]
    cdef int64_t j
    cdef int i
    for j in range(parts_of(n, CB_DROPS)):
        cb_philox(cb_random(key, CB_FOR_DROPOUT, epoch), position * draws + first_draw + j, word)
        for i in range(CB_DROPS):
            kept = (word[i // 2] >> 16 * (i % 2) & 0xFFFF) >= drop
            mask[j * CB_DROPS + i] = kept * 65536 / (65536 - drop)
    return mask[:n]


# ---- memory ---------------------------------------------------------------------------

cdef uintptr_t address(array) except? 0:
    # Good for as long as the array lives: the buffer is only asked where it lies.
    cdef Py_buffer buffer
    PyObject_GetBuffer(array, &buffer, PyBUF_STRIDED_RO)
    cdef uintptr_t at = <uintptr_t>buffer.buf
    PyBuffer_Release(&buffer)
    return at


cdef bint look_at(array, Py_buffer *buffer, cb_rows *rows) except -1:
    # Takes the array's buffer; 0, with nothing taken, where it is not a matrix that the
    # kernels read in place. Here and elsewhere no except clause returns: docs/decisions.md.
    cdef bint readable = True
    try:
        PyObject_GetBuffer(array, buffer, PyBUF_STRIDED_RO | PyBUF_FORMAT)
    except (ValueError, BufferError):   # dates, for instance
        readable = False
    if not readable:
        return 0
    if buffer.ndim == 2 and as_rows(buffer, rows):
        return 1
    PyBuffer_Release(buffer)
    return 0


cdef bint as_rows(const Py_buffer *buffer, cb_rows *rows) noexcept nogil:
    # A matrix, or a vector as its one column: native and aligned uint8, float32 or float64.
    cdef cb_index item = buffer.itemsize, n = buffer.ndim
    cdef char kind = buffer.format[0] if buffer.format[1] == 0 else 0
    if not 1 <= n <= 2 or not (kind == b"f" or kind == b"d" or kind == b"B"):
        return 0
    rows[0] = cb_rows(buffer.buf, buffer.strides[0], buffer.strides[n - 1],
                      buffer.shape[1] if n == 2 else 1,
                      CB_UINT8 if item == 1 else CB_FLOAT32 if item == 4 else CB_FLOAT64, 0,
                      NULL, NULL)
    return (<uintptr_t>buffer.buf | <uintptr_t>rows.row_stride
            | <uintptr_t>rows.column_stride) % item == 0


cdef cb_index row_stride(cb_index n) noexcept nogil:
    # n elements, the constant 1, then padding to an odd number of panels, so that rows
    # of a power of two do not share cache sets.
    return (parts_of(n + 1, CB_PANEL) | 1) * CB_PANEL


cdef cb_index panel_bytes(const cb_kernels *k, cb_index n_in, cb_index n_out) noexcept nogil:
    return parts_of(n_out, CB_PANEL) * (n_in + 1) * CB_PANEL * k.itemsize


cdef arena_of(counts, cb_index wall=CB_WALL):
    # One zeroed allocation for all parts, and where they start, at multiples of CB_ALIGNMENT. With
    # wall = 0 one part follows the other, for loops and copies over all of them.
    cdef cb_index start, n
    offsets = [0]
    for count in counts:
        offsets.append(offsets[-1] + parts_of(count + wall, CB_ALIGNMENT) * CB_ALIGNMENT)
    arena = new_arena(offsets[-1])
    cdef uintptr_t base = address(arena)
    if wall:
        for start, n, end in zip(offsets, counts, offsets[1:]):
            cb_forbid(<void *>(base + start + n), end - start - n)
    return arena, offsets


# What is left of the large page that the last arenas were cut from.
cdef object page_lock = Lock()
cdef object page = b""


cdef new_arena(cb_index n_bytes):
    # Zeroed, aligned.
    if CB_WALL == 0:
        return zeroed(n_bytes)
    arena = zeroed(n_bytes + CB_WALL)
    cb_forbid(<void *>(address(arena) + n_bytes), CB_WALL)
    return arena[:n_bytes]


cdef zeroed(cb_index n_bytes):
    # Arenas that a core's first table of small pages (some 70 of 4 KiB) would not hold lie on
    # large ones: on their own, or, so that a small network does not take 2 MiB, as neighbours
    # in one, which lives as long as any of them.
    global page
    if n_bytes < SOME_SMALL_PAGES:
        return aligned(n_bytes, CB_ALIGNMENT)
    cdef cb_index size = parts_of(n_bytes, CB_ALIGNMENT) * CB_ALIGNMENT
    if size > LARGE_PAGE // 2:
        return on_large_pages(size)[:n_bytes]
    # Nobody waits for the lock: whoever comes meanwhile, a collector's or a signal's code among
    # them, or the child of a fork, takes a page of its own.
    rest, locked = b"", page_lock.acquire(False)
    try:
        if locked:
            rest = page
        if len(rest) < size:
            rest = on_large_pages(LARGE_PAGE)
        if locked:
            page = rest[size:]
    finally:
        if locked:
            page_lock.release()
    return rest[:n_bytes]


cdef on_large_pages(cb_index n_bytes):
    memory = aligned(parts_of(n_bytes, LARGE_PAGE) * LARGE_PAGE, LARGE_PAGE)
    cb_use_large_pages(<void *><uintptr_t>address(memory), len(memory))
    return memory


cdef aligned(cb_index n_bytes, cb_index alignment):
    # With walls it is more than NumPy keeps for others instead of freeing it: 1,024 bytes.
    memory = numpy.zeros(n_bytes + alignment + 4 * CB_WALL, numpy.uint8)
    skip = -address(memory) % alignment
    return memory[skip:skip + n_bytes]


cdef class Rows:
    """The user's matrix (n, width), uint8, float32 or float64, read where it lies: targets,
    or the input of an engine. BufferError where it cannot be read so."""

    def __cinit__(self, array, Engine engine=None):
        if not look_at(array, &self.buffer, &self.rows):
            raise BufferError
        self.n = self.buffer.shape[0]
        if engine is not None:
            self.engine = engine    # keeps scale and shift alive
            self.rows.bias = 1
            self.rows.scale, self.rows.shift = engine.scale, engine.shift

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
        cdef cb_index columns
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
        take("scores", m * sizeof(double))
        take("y", m * engine.layer[L].ld_out * item)
        for l in range(L + 1):
            plane = m * engine.layer[l].ld_out * item
            take(("a", l), plane)
            if l > 0 and (l == L or kind == EVERYTHING or engine.layer[l].own != NULL or (
                    kind != INFERENCE and cb_needs_z(engine.layer[l].activation))):
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
                scratch = max(scratch, inputs_room(engine.kernels, &engine.layer[l], m))
        for thread in range(threads if kind != INFERENCE else 0):
            take(("scratch", thread), scratch)

        self.arena, starts = arena_of(counts)
        self.offsets = dict(zip(names, starts))
        base = <char *>address(self.arena)
        self.p = Pass(engine.kernels, <cb_layer *>base, L, engine.cost, engine.stable, score,
                      base + <cb_index>self.offsets["y"],
                      <double *>(base + <cb_index>self.offsets["costs"]),
                      <double *>(base + <cb_index>self.offsets["scores"]),
                      <void **>(base + <cb_index>self.offsets["scratch pointers"]),
                      cb_dropout(0, 0, 0, 0, 0), NULL, engine.failed)
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

    cdef void leave_to_chance(self, drops, double noise) except *:
        # Dropout of layers 0 .. L-1 with these probabilities, in 65536ths, or None; and noise.
        cdef cb_index l, item = self.p.kernels.itemsize, draws = 0, plane
        cdef cb_layer *at
        self.planes = []
        for l, drop in enumerate(drops or ()):
            at = &self.p.layer[l]
            at.first_draw = draws
            if drop:
                draws += parts_of(at.n_out, CB_DROPS)
                plane = self.m * at.ld_out * item
                self.planes.append(new_arena(2 * plane))
                at.drop, at.dropout = drop, &self.p.dropout
                at.mask = <void *><uintptr_t>address(self.planes[-1])
                at.dropped = <char *>at.mask + plane if l else at.a
                self.p.layer[l + 1].a_in = at.dropped
        self.p.dropout.draws, self.p.dropout.noise = draws, noise
        if noise > 0:
            self.p.noise = &self.p.dropout

    cdef char *room(self, cb_index n_bytes) except NULL:
        # Some memory more, for as long as the workspace is the caller's.
        if self.spare_room is None or len(self.spare_room) < n_bytes:
            self.spare_room = empty(n_bytes, numpy.uint8)
        return <char *>address(self.spare_room)


# ---- the programs that a team of threads runs -----------------------------------------

cdef void load(const Pass *p, const cb_rows *x, const cb_rows *y, const int32_t *labels,
               const int64_t *index, cb_index first, cb_index last,
               int *non_finite) noexcept nogil:
    # a^0 and y for samples first .. last - 1 of the mini-batch, gathered by index.
    cdef cb_layer *output = &p.layer[p.L]
    p.kernels.gather(x, index, first, last - first, p.layer[0].a, p.layer[0].ld_out, non_finite)
    if p.noise != NULL:
        p.kernels.add_noise(&p.layer[0], p.noise, first, last - first)
    if p.layer[0].dropout != NULL:
        p.kernels.drop_inputs(&p.layer[0], first, last - first)
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
    cdef cb_index m = min(s.chunk, s.n - begin), first, last, i, width
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
            for i in range(m):
                s.cost += p.costs[i]
                if p.score != CB_SQUARED_ERROR:
                    s.score[0] += p.scores[i]
        if p.score == CB_SQUARED_ERROR:
            first = part(output.n_out, threads, thread)
            last = part(output.n_out, threads, thread + 1)
            p.kernels.add_squares(output, p.y, NULL, NULL, m, first, last - first, s.score)
        cb_barrier(team)


cdef void survey_program(void *argument, int thread, cb_team *team) noexcept nogil:
    cdef Survey *s = <Survey *>argument
    cdef cb_index chunk
    for chunk in range(parts_of(s.n, s.chunk)):
        survey_chunk(s, thread, team, chunk * s.chunk)


cdef void run_survey(Survey *s) noexcept nogil:
    cdef unsigned saved = cb_float_enter()
    cb_run(survey_program, s, 1)
    cb_float_leave(saved)


cdef class Engine:
    """Sizes, functions and parameters of one network in one precision."""

    def __cinit__(self, sizes, activations, cost, bint stable, int bits, own=None):
        cdef cb_index l
        cdef uintptr_t at
        self.kernels = cb_kernels_in_use(bits)
        self.bf16 = cb_bf16_kernels_of(self.kernels)
        self.sizes, self.activations = tuple(sizes), tuple(activations)
        self.L, self.stable = len(sizes) - 1, stable
        self.cost.code, self.cost.parameter = cost
        counts = [(self.L + 1) * sizeof(cb_layer)]
        for l in range(1, self.L + 1):
            counts.append(panel_bytes(self.kernels, sizes[l - 1], sizes[l]))
        self.arena, self.offsets = arena_of(counts, 0)
        self.layer = <cb_layer *>address(self.arena)
        self.parameters = <char *>self.layer + <cb_index>self.offsets[1]
        self.n_bytes = self.offsets[-1] - self.offsets[1]
        for l in range(self.L + 1):
            self.layer[l].n_out = sizes[l]
            self.layer[l].ld_out = row_stride(sizes[l])
            if l > 0:
                self.layer[l].n_in = sizes[l - 1]
                self.layer[l].ld_in = row_stride(sizes[l - 1])
                self.layer[l].activation, self.layer[l].alpha = activations[l - 1]
                self.layer[l].w = <char *>self.layer + <cb_index>self.offsets[l]
                self.products += self.layer[l].n_in * self.layer[l].n_out
        self.dtype = numpy.dtype(numpy.float32 if bits == 32 else numpy.float64)
        self.spare = [[] for _ in range(KINDS)]
        self.own = own
        if own is not None:
            self.in_python = own.in_python
            at = own.failures.address
            self.failed = <const int *>at
            for l in range(1, self.L + 1):
                if own.layers[l - 1] is not None:
                    at = own.layers[l - 1].address
                    self.layer[l].own = <const cb_own *>at
            if own.cost is not None:
                at = own.cost.address
                self.cost.own = <const cb_own *>at

    cdef bint check(self) except 0:
        # Raises what one of the user's functions has raised in this thread.
        if self.failed != NULL and self.failed[0]:
            error = self.own.failures.take()
            if error is not None:
                raise error
        return 1

    def set_transform(self, pair):
        """scale and shift of the input, rows of (2, n_0 rounded up to 16 or more)."""
        self.transform = pair
        self.scale = <const void *>address(pair[0])
        self.shift = <const void *>address(pair[1])

    @property
    def kernels_name(self):
        """The kernel table that it was made for."""
        return self.kernels.name.decode()

    @property
    def has_bf16(self):
        """Whether there are products in bfloat16 beside that table, on this CPU."""
        return self.bf16 != NULL

    @property
    def held_alone(self):
        """Whether it is being trained or otherwise changed."""
        return bool(cb_is_alone(&self.users))

    def panels(self, cb_index l):
        """w^l and b^l as they lie: a view (ceil(n_l/16), n_{l-1} + 1, 16)."""
        return panels_of(self.arena, self.offsets[l], self.dtype, self.sizes[l - 1],
                         self.sizes[l])

    cdef Workspace workspace(self, cb_index m, int threads, int kind, int score):
        # One that was used before if it fits: list.pop is atomic, so threads may ask.
        cdef Workspace w
        cdef list spare
        if kind == INFERENCE and m <= CB_FEW_ROWS:
            kind, m = FEW, CB_FEW_ROWS
        spare = self.spare[kind]
        w = None
        if spare:
            try:
                w = spare.pop()
            except IndexError:      # another thread was faster, where there is no GIL
                pass
        if w is not None and w.threads >= threads and m <= w.m <= 2 * m:
            w.p.score = score
            return w
        return Workspace(self, m, threads, kind, score)

    cdef void put_back(self, Workspace w):
        # What a caller asked for once, with every z and delta, may be large: it is not kept.
        # A collector that breaks a cycle may have taken the list away.
        if self.spare is not None and (w.kind != EVERYTHING or len(w.arena) <= KEPT_BYTES):
            (<list>self.spare[w.kind]).append(w)

    def quick(self, x):
        """a^L (n, n_L) for x (n, n_0) where nothing is to be said or asked: an ndarray that
        is read in place, finite, so little work that one thread does it, nobody training.
        Else None."""
        cdef Py_buffer buffer
        cdef cb_rows rows
        cdef Workspace w
        cdef Survey s
        cdef cb_index n
        if type(x) is not ndarray or not look_at(x, &buffer, &rows):
            return None
        try:
            n = buffer.shape[0]
            if rows.width != self.layer[0].n_out or not 0 < n <= MOST_QUICK // self.products:
                return None
            if not cb_enter_shared(&self.users):
                return None
            try:
                rows.bias, rows.scale, rows.shift = 1, self.scale, self.shift
                out = empty((n, self.layer[self.L].n_out), self.dtype)
                w = self.workspace(min(n, 96), 1, INFERENCE, 0)
                s = Survey(&w.p, &rows, NULL, NULL, n, min(n, 96), <char *>address(out), 0, 0,
                           NULL, 0)
                if n * self.products <= MOST_WITH_GIL:
                    run_survey(&s)
                else:
                    with nogil:
                        run_survey(&s)
                self.put_back(w)
                self.check()
            finally:
                cb_leave_shared(&self.users)
            return None if s.non_finite else out
        finally:
            PyBuffer_Release(&buffer)

    def survey(self, Rows x not None, Targets y, int score, out, int threads):
        """Forward over all rows: fills `out` (n, n_L) if given; with targets returns the
        sum of costs and the sums of scores, float64."""
        cdef cb_index chunk = min(x.n, <cb_index>(1024 if self.in_python else 96) * threads)
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
        self.put_back(w)
        self.check()
        return s.cost, sums, bool(s.non_finite)


cdef class Hold:
    """`with hold:` an engine alone, or beside other readers; else RuntimeError(busy), where
    patient only if somebody has it alone. All of entering is one call of compiled code: no
    signal finds it half done."""

    def __init__(self, Engine engine not None, bint alone, str busy not None,
                 bint patient=False):
        self.engine, self.alone, self.busy, self.patient = engine, alone, busy, patient

    def __enter__(self):
        cdef int *users = &self.engine.users
        while not (cb_enter_alone(users) if self.alone else cb_enter_shared(users)):
            if not self.patient or cb_is_alone(users):
                raise RuntimeError(self.busy)
            sleep(1e-4)

    def __exit__(self, kind, error, trace):
        if self.alone:
            cb_leave_alone(&self.engine.users)
        else:
            cb_leave_shared(&self.engine.users)


cdef panels_of(arena, start, dtype, n_in, n_out):
    shape = (parts_of(n_out, CB_PANEL), n_in + 1, CB_PANEL)
    count = shape[0] * shape[1] * CB_PANEL * dtype.itemsize
    return arena[start:start + count].view(dtype).reshape(shape)


def unpack(panels, n_out):
    """w (n_out, n_in) and b (n_out,) from panels (ceil(n_out/16), n_in + 1, 16); copies."""
    both = panels.transpose(0, 2, 1).reshape(-1, panels.shape[1])[:n_out]
    return both[:, :-1].copy(), both[:, -1].copy()


def pack(w, b, panels):
    """Writes w (n_out, n_in) and b (n_out,) into the panels."""
    replace([(panels, packed(w, b, panels))])


def packed(w, b, panels):
    """w (n_out, n_in) and b (n_out,) laid out like the panels, C-contiguous."""
    both = numpy.zeros((panels.shape[0] * panels.shape[2], panels.shape[1]), panels.dtype)
    both[:len(w), :-1] = w
    both[:len(w), -1] = b
    return numpy.ascontiguousarray(
        both.reshape(panels.shape[0], panels.shape[2], -1).transpose(0, 2, 1))


def replace(list pairs not None):
    """Writes into the first of each pair of contiguous arrays what the second holds. Where there is
    no memory left, nothing has changed."""
    cdef list places = [(address(old), address(new), new.nbytes) for old, new in pairs]
    cdef uintptr_t to, at
    cdef cb_index n_bytes
    for to, at, n_bytes in places:
        memcpy(<void *>to, <const void *>at, n_bytes)
