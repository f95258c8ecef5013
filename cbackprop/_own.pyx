# cython: language_level=3, cdivision=True, freethreading_compatible=True
"""The user's own activations and costs as the kernels call them: Python functions, with the GIL
and arrays of whole rows; C functions, without, row by row."""
from threading import get_ident

import numpy

from libc.stdint cimport uintptr_t
from libc.string cimport memcpy, memset

from cbackprop._engine cimport address, float_enter, float_leave
from cbackprop._kernels cimport cb_index, cb_own


cdef class Failures:
    """The errors that a network's own functions have raised, until the call that met them is
    over; each thread takes its own."""
    cdef int count
    cdef dict errors
    cdef unsigned environment   # in which the user's Python runs

    def __cinit__(self):
        self.errors = {}
        self.environment = float_enter()
        float_leave(self.environment)

    @property
    def address(self):
        return <uintptr_t>&self.count

    cdef bint mine(self):
        return self.count > 0 and get_ident() in self.errors

    cdef void add(self, error):
        self.errors[get_ident()] = error
        self.count += 1

    def take(self):
        """This thread's error, or None."""
        error = self.errors.pop(get_ident(), None)
        if error is not None:
            self.count -= 1
        return error


cdef class Own:
    """The row that a layer or a cost points to."""
    cdef cb_own row
    cdef readonly bint in_python
    cdef object name, dtype, forward, backward
    cdef Failures failures
    cdef cb_index item
    cdef void *first
    cdef void *second

    def __cinit__(self, str name, str kind, forward, backward, int bits, Failures failures):
        """kind: "activation" (sigma; its vector-Jacobian product) or "cost" (C; dC/da);
        forward, backward: both callables or both addresses."""
        self.name, self.failures, self.item = f"{kind} {name!r}", failures, bits // 8
        self.dtype = numpy.dtype(numpy.float32 if bits == 32 else numpy.float64)
        self.in_python = callable(forward)
        self.row.context = <void *>self
        if self.in_python:
            self.forward, self.backward = forward, backward
            self.row.activate, self.row.through = activate_in_python, through_in_python
            self.row.value, self.row.slope = value_in_python, slope_in_python
        else:
            self.first, self.second = <void *><uintptr_t>forward, <void *><uintptr_t>backward
            self.row.activate, self.row.through = activate_in_c, through_in_c
            self.row.value, self.row.slope = value_in_c, slope_in_c

    @property
    def address(self):
        return <uintptr_t>&self.row

    cdef rows_of(self, const void *data, cb_index rows, cb_index n, cb_index ld):
        # A copy: the user may keep it.
        out = numpy.empty((rows, n), self.dtype)
        cdef char *to = <char *>address(out)
        cdef cb_index s
        for s in range(rows):
            memcpy(to + s * n * self.item, <const char *>data + s * ld * self.item, n * self.item)
        return out

    cdef void fill(self, what, function, const void *x, const void *y, const void *v, void *out,
                   cb_index rows, cb_index n, cb_index ld) noexcept:
        # out = function(x, y, v), as many as are not NULL: rows of n, ld apart; of a cost's value,
        # one number a row.
        cdef bint narrow = what == "value"
        cdef cb_index s, width = (8 if narrow else n * self.item)
        cdef cb_index stride = 8 if narrow else ld * self.item
        cdef const char *values
        if not self.failures.mine():
            float_leave(self.failures.environment)
            try:
                arguments = [self.rows_of(x, rows, n, ld)]
                if y != NULL:
                    arguments.append(self.rows_of(y, rows, n, ld))
                if v != NULL:
                    arguments.append(self.rows_of(v, rows, n, ld))
                shape = arguments[0].shape[:1] if narrow else arguments[0].shape
                result = numpy.asarray(function(*arguments))
                if result.shape != shape or result.dtype.kind not in "fiub":
                    raise ValueError(
                        f"{self.name}: the {what} is {result.dtype} of shape {result.shape}, "
                        f"expected real numbers of shape {shape}")
                result = numpy.ascontiguousarray(result, numpy.float64 if narrow else self.dtype)
                values = <const char *>address(result)
                for s in range(rows):
                    memcpy(<char *>out + s * stride, values + s * width, width)
                float_enter()
                return
            except BaseException as error:
                self.failures.add(error)
            float_enter()
        for s in range(rows):
            memset(<char *>out + s * stride, 0, width)


cdef void activate_in_python(void *context, const void *z, void *a, cb_index rows, cb_index n,
                             cb_index ld) noexcept with gil:
    cdef Own own = <Own>context
    own.fill("function", own.forward, z, NULL, NULL, a, rows, n, ld)


cdef void through_in_python(void *context, const void *z, const void *a, void *delta,
                            cb_index rows, cb_index n, cb_index ld) noexcept with gil:
    cdef Own own = <Own>context
    own.fill("vector-Jacobian product", own.backward, z, a, delta, delta, rows, n, ld)


cdef void value_in_python(void *context, const void *a, const void *y, double *values,
                          cb_index rows, cb_index n, cb_index ld) noexcept with gil:
    cdef Own own = <Own>context
    own.fill("value", own.forward, a, y, NULL, values, rows, n, ld)


cdef void slope_in_python(void *context, const void *a, const void *y, void *delta,
                          cb_index rows, cb_index n, cb_index ld) noexcept with gil:
    cdef Own own = <Own>context
    own.fill("slope", own.backward, a, y, NULL, delta, rows, n, ld)


ctypedef void (*sigma)(const void *z, void *a, cb_index n) noexcept nogil
ctypedef void (*product)(const void *z, const void *a, void *delta, cb_index n) noexcept nogil
ctypedef double (*value)(const void *a, const void *y, cb_index n) noexcept nogil
ctypedef void (*slope)(const void *a, const void *y, void *delta, cb_index n) noexcept nogil


cdef void activate_in_c(void *context, const void *z, void *a, cb_index rows, cb_index n,
                        cb_index ld) noexcept nogil:
    cdef sigma f = <sigma>(<Own>context).first
    cdef cb_index s, stride = ld * (<Own>context).item
    for s in range(rows):
        f(<const char *>z + s * stride, <char *>a + s * stride, n)


cdef void through_in_c(void *context, const void *z, const void *a, void *delta, cb_index rows,
                       cb_index n, cb_index ld) noexcept nogil:
    cdef product f = <product>(<Own>context).second
    cdef cb_index s, stride = ld * (<Own>context).item
    for s in range(rows):
        f(<const char *>z + s * stride, <const char *>a + s * stride, <char *>delta + s * stride,
          n)


cdef void value_in_c(void *context, const void *a, const void *y, double *values, cb_index rows,
                     cb_index n, cb_index ld) noexcept nogil:
    cdef value f = <value>(<Own>context).first
    cdef cb_index s, stride = ld * (<Own>context).item
    for s in range(rows):
        values[s] = f(<const char *>a + s * stride, <const char *>y + s * stride, n)


cdef void slope_in_c(void *context, const void *a, const void *y, void *delta, cb_index rows,
                     cb_index n, cb_index ld) noexcept nogil:
    cdef slope f = <slope>(<Own>context).second
    cdef cb_index s, stride = ld * (<Own>context).item
    for s in range(rows):
        f(<const char *>a + s * stride, <const char *>y + s * stride, <char *>delta + s * stride,
          n)


class Functions:
    """Of one network: the rows of its layers and its cost, and the errors they raised."""

    def __init__(self, activations, cost, int bits):
        failures = self.failures = Failures()

        def row(function, kind):
            if function.own is None:
                return None
            pair = function.own(bits)
            return Own(function.name, kind, pair[0], pair[1], bits, failures)

        self.layers = [row(sigma, "activation") for sigma in activations]
        self.cost = row(cost, "cost")

    @property
    def in_python(self):
        return any(own is not None and own.in_python for own in [*self.layers, self.cost])
