# cython: language_level=3, cdivision=True, freethreading_compatible=True
"""The look for signals while Python's lock is let go: for Ctrl-C, and for whatever else the
user handles. It takes the lock, which other threads may keep for long; so from the second look on
it waits until Python's own handler has written a byte (`signal.set_wakeup_fd`)."""
import os
import signal

from cpython.exc cimport PyErr_CheckSignals
from libc.math cimport INFINITY

cdef extern from "Python.h" nogil:
    PyThreadState *PyEval_SaveThread()
    void PyEval_RestoreThread(PyThreadState *state)

cdef extern from "wakeup.h" nogil:
    bint cb_is_woken(int fd)

cdef double LOCKED_SECONDS = 0.02   # between two looks that need the lock
cdef double SECONDS = 0.005         # and between two at what was written
cdef bint HAS_PIPES = os.name == "posix"    # that can be read without waiting

# Where Python writes for the innermost call, of that process: a call from within a handler, or in a
# child, finds it there and knows that it is not an event loop's.
cdef int latest = -1, process = -1


cdef void begin_looks(Looks *looks, double now) noexcept:
    looks.last, looks.between = now, LOCKED_SECONDS
    looks.may_arm = looks.may_keep = looks.armed = False
    looks.into = looks.out_of = looks.before = looks.process = -1
    looks.caller = NULL


cdef void let_go(Looks *looks) noexcept nogil:
    looks.caller = PyEval_SaveThread()


cdef void take_back(Looks *looks) noexcept nogil:
    # Held already, perhaps, where a handler raised.
    if looks.caller != NULL:
        PyEval_RestoreThread(looks.caller)
        looks.caller = NULL


cdef bint is_due(Looks *looks, double now) noexcept nogil:
    if now - looks.last <= looks.between:
        return False
    looks.last = now
    return not looks.armed or cb_is_woken(looks.out_of)


cdef bint look(Looks *looks, void *pending) noexcept nogil:
    # Whether a handler raised; then the lock is kept, if it may, for it would have to be won twice.
    cdef bint raised
    take_back(looks)
    raised = (<bint (*)(Looks *, void *) noexcept nogil>run_handlers)(looks, pending)
    if not raised or not looks.may_keep:
        let_go(looks)
    return raised


cdef bint run_handlers(Looks *looks, void *pending) noexcept:
    # What one of them raises is appended to the list `pending`.
    cdef bint raised = False
    try:
        PyErr_CheckSignals()
        # What came before, or while a handler used the wakeup for itself, left no byte.
        while not arm(looks):
            PyErr_CheckSignals()
    except BaseException as error:
        (<list>pending).append(error)
        raised = True
    return raised


cdef bint arm(Looks *looks) except -1:
    # Whether all that came by then has been looked at.
    global latest, process
    cdef int before, here
    if not looks.may_arm:
        return True
    here = os.getpid()
    if looks.process != here:   # a child that a handler made must not read what is its parent's
        close_pipe(looks)
        looks.process = here
    if looks.into < 0 and not make_pipe(looks):
        looks.may_arm = False
        return True
    found = None
    try:
        found = signal.set_wakeup_fd(looks.into, warn_on_full_buffer=False)
    except (OSError, ValueError):
        pass
    if found is None:
        give_up(looks)
        return False
    before = found
    if before == looks.into:
        return True
    if before == -1 or before == latest:
        looks.armed, looks.between = True, SECONDS
        looks.before = before if process == here else -1
        latest, process = looks.into, here
    else:
        put_back(before)
        pass_on(looks, before)
        looks.may_arm, looks.armed, looks.between = False, False, LOCKED_SECONDS
    return False


cdef give_up(Looks *looks):
    # Somebody has closed the pipe; or this is another thread than the main one, and no handler
    # ever runs here.
    looks.may_arm, looks.armed, looks.between = False, False, LOCKED_SECONDS
    try:
        now = signal.set_wakeup_fd(-1)
        if now != looks.into:
            put_back(now)
    except ValueError:
        looks.between = INFINITY
    close_pipe(looks)


cdef bint make_pipe(Looks *looks) except -1:
    cdef bint made = False
    if not HAS_PIPES:
        return False
    try:
        looks.out_of, looks.into = os.pipe()
        os.set_blocking(looks.out_of, False)
        os.set_blocking(looks.into, False)
        made = True
    except OSError:     # no more files
        pass
    return made


cdef put_back(int before):
    # Whose it was may have closed it since.
    found = None
    try:
        found = signal.set_wakeup_fd(before, warn_on_full_buffer=False)
    except (OSError, ValueError):
        pass
    if found is None:
        signal.set_wakeup_fd(-1)


cdef pass_on(Looks *looks, int other):
    # What came while it was ours for a moment.
    try:
        os.write(other, os.read(looks.out_of, 64))
    except OSError:     # nothing, as a rule
        pass


cdef void disarm(Looks *looks) noexcept:
    global latest
    if looks.armed:
        now = signal.set_wakeup_fd(-1)
        put_back(looks.before if now == looks.into else now)
    if latest == looks.into:
        latest = looks.before
    close_pipe(looks)


cdef void close_pipe(Looks *looks) noexcept:
    for end in (looks.into, looks.out_of):
        try:
            if end >= 0:
                os.close(end)
        except OSError:     # somebody has
            pass
    looks.into = looks.out_of = -1
