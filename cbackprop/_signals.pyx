# cython: language_level=3, cdivision=True, freethreading_compatible=True
"""The look for signals while Python's lock is let go: for Ctrl-C, and for whatever else the
user handles. It takes the lock, which other threads may keep for long; so from the second look on
it waits until Python's own handler has written a byte (`signal.set_wakeup_fd`)."""
import os
import signal
from threading import get_ident, main_thread

from cpython.exc cimport PyErr_CheckSignals
from libc.math cimport INFINITY

cdef extern from "Python.h" nogil:
    PyThreadState *PyEval_SaveThread()
    void PyEval_RestoreThread(PyThreadState *state)

cdef extern from "wakeup.h" nogil:
    bint cb_is_woken(int fd)

cdef double LOCKED_SECONDS = 0.02   # between two looks that need the lock
cdef double SECONDS = 0.005         # and between two at what was written

cdef int into = -1, out_of = -1, owner = -1     # of process `owner`


cdef void begin_looks(Looks *looks, double now) noexcept:
    looks.last, looks.between = now, LOCKED_SECONDS
    looks.woken, looks.may_arm, looks.caller = -1, False, NULL


cdef void let_go(Looks *looks) noexcept nogil:
    looks.caller = PyEval_SaveThread()


cdef void take_back(Looks *looks) noexcept nogil:
    # Held already where a handler raised: what is left to do waits for nobody.
    if looks.caller != NULL:
        PyEval_RestoreThread(looks.caller)
        looks.caller = NULL


cdef bint is_due(Looks *looks, double now) noexcept nogil:
    if now - looks.last <= looks.between:
        return False
    looks.last = now
    return looks.woken < 0 or cb_is_woken(looks.woken)


cdef bint look(Looks *looks, void *pending) noexcept nogil:
    # Runs the handlers; whether one of them raised, what is then appended to the list `pending`.
    cdef bint raised = False
    take_back(looks)
    with gil:
        try:
            PyErr_CheckSignals()
            # What came before, or while a handler used the wakeup for itself, left no byte.
            while not arm(looks):
                PyErr_CheckSignals()
        except BaseException as error:
            (<list>pending).append(error)
            raised = True
    if not raised:
        let_go(looks)
    return raised


cdef bint arm(Looks *looks) except -1:
    # Whether all that came by then has been looked at.
    if get_ident() != main_thread().ident:      # where no handler ever runs
        looks.between = INFINITY
        return True
    if not looks.may_arm:
        return True
    before = take_wakeup()
    if before == into:
        return True
    if before == -1:
        looks.woken, looks.between = out_of, SECONDS
    else:
        looks.woken, looks.between, looks.may_arm = -1, LOCKED_SECONDS, False
    return False


cdef take_wakeup():
    # Whose it was: `into`, ours; -1, nobody's; another's, and still is; or None: not to be had.
    global into, out_of, owner
    before = None
    try:
        if owner != os.getpid():    # a child would share its parent's
            out_of, into = os.pipe()
            owner = os.getpid()
            os.set_blocking(out_of, False)
            os.set_blocking(into, False)
        before = signal.set_wakeup_fd(into, warn_on_full_buffer=False)
        if before != into and before != -1:     # an event loop's
            signal.set_wakeup_fd(before, warn_on_full_buffer=False)
            os.write(before, os.read(out_of, 64))   # what came meanwhile
    except (OSError, ValueError):   # no more files, not the main interpreter; nothing came
        pass
    return before


cdef disarm(Looks *looks):
    if looks.woken >= 0:
        before = signal.set_wakeup_fd(-1)
        if before != into:
            signal.set_wakeup_fd(before, warn_on_full_buffer=False)
