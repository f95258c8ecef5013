cdef extern from "Python.h" nogil:
    ctypedef struct PyThreadState

cdef struct Looks:
    double last             # when the last one was
    double between          # seconds from one to the next
    bint may_arm            # no Python code of the user's runs but handlers
    bint may_keep           # nor anything that may want Python's lock while others wait for it
    int into, out_of        # a pipe, or -1: Python's handler writes, the core reads
    int process             # whose it is
    int before              # where Python wrote until then
    bint armed              # Python writes into it
    PyThreadState *caller   # while Python's lock is let go; else NULL


cdef void begin_looks(Looks *looks, double now) noexcept
cdef void let_go(Looks *looks) noexcept nogil
cdef void take_back(Looks *looks) noexcept nogil
cdef bint is_due(Looks *looks, double now) noexcept nogil
cdef bint look(Looks *looks, void *pending) noexcept nogil
cdef void disarm(Looks *looks) noexcept
