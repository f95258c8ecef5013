# How many threads: found by timing while training runs, and looked at again now and then.
# Bits do not depend on the choice, so it is free to change.
from cbackprop._kernels cimport cb_index

cdef enum:
    WAYS = 8                # at most: numbers of threads to choose from
    ROUNDS = 3              # slices timed for each way; the best counts

cdef struct Pace:
    cb_index m              # what it was found for: the mini-batch's size
    int most                # and the threads allowed
    int ways
    int threads[WAYS]
    double cost[WAYS]       # seconds a sample, the least of this round's slices
    int best
    int trial               # slices still to time in this round
    double settled          # when the next round begins
    double slice            # seconds to run before asking again


cdef inline void begin_pace(Pace *pace, cb_index m, int most, int guess) noexcept nogil:
    # The guess is timed first: a short call does nothing else.
    cdef int threads = 1, way = 0
    pace.m, pace.most, pace.ways, pace.best = m, most, 1, 0
    pace.threads[0] = guess
    while way < WAYS - 1 and threads <= most:
        if threads != guess:
            pace.threads[pace.ways] = threads
            pace.ways += 1
        threads = most if threads < most < 2 * threads else 2 * threads
        way += 1
    begin_round(pace)


cdef inline void begin_round(Pace *pace) noexcept nogil:
    cdef int way
    for way in range(pace.ways):
        pace.cost[way] = 1e300
    pace.trial = ROUNDS * pace.ways if pace.ways > 1 else 0
    pace.settled = 1e300 if pace.ways == 1 else 0


cdef inline int current_way(const Pace *pace) noexcept nogil:
    # The best so far is timed first in each turn.
    if pace.trial == 0:
        return pace.best
    return (pace.best + ROUNDS * pace.ways - pace.trial) % pace.ways


cdef inline double slice_seconds(const Pace *pace, double now) noexcept nogil:
    return 0.002 if pace.trial else max(0.002, pace.settled - now)


cdef inline void report(Pace *pace, double per_sample, double now) noexcept nogil:
    # A slice at current_way() is over.
    cdef int way = current_way(pace), best = 0
    cdef double rival = 1e300
    if pace.trial == 0:
        if now >= pace.settled:
            begin_round(pace)
        return
    pace.cost[way] = min(pace.cost[way], per_sample)
    pace.trial -= 1
    if pace.trial == 0:
        for way in range(pace.ways):
            if pace.cost[way] < pace.cost[best]:
                best = way
        for way in range(pace.ways):
            if way != best:
                rival = min(rival, pace.cost[way])
        pace.best = best
        # Where the others are far behind, asking them costs more and tells less.
        pace.settled = now + (1 if rival < 1.3 * pace.cost[best] else 8)
