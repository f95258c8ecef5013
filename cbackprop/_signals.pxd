cdef extern from "Python.h" nogil:
    ctypedef struct PyThreadState

cdef struct Looks:
    double last             # when the last one was
    double between          # seconds from one to the next
    int woken               # what a byte comes out of when there is something to see; or -1
    bint may_arm            # no other code of the user's runs meanwhile, which might do the same
    PyThreadState *caller   # while Python's lock is let go; else NULL


cdef void begin_looks(Looks *looks, double now) noexcept
cdef void let_go(Looks *looks) noexcept nogil
cdef void take_back(Looks *looks) noexcept nogil
cdef bint is_due(Looks *looks, double now) noexcept nogil
cdef bint look(Looks *looks, void *pending) noexcept nogil
cdef disarm(Looks *looks)
