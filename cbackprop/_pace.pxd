# How many threads, and how they share the work: found by timing while training runs, and
# looked at again now and then. Bits do not depend on the choice, so it is free to change.
from cbackprop._kernels cimport cb_index

cdef enum:
    WAYS = 16               # at most
    MOST_OWNERS = 16        # threads that may own columns
    ROUNDS = 3              # slices timed for each way; the best counts

cdef struct Pace:
    cb_index m              # what it was found for: the mini-batch's size
    int least, most         # and the threads allowed
    int owned               # and those that may own columns
    int ways
    int threads[WAYS]
    int owners[WAYS]        # they share the first layer's columns, not the samples
    double cost[WAYS]       # seconds a sample, the least of a round's slices
    int order[WAYS]         # the ways of this round
    int asked               # and their number
    int best
    int rounds
    int trial               # slices still to time in this round
    double settled          # when the next round begins
    double slice            # seconds to run before asking again


cdef inline void begin_pace(Pace *pace, cb_index m, int least, int most, int guess,
                            int most_owners) noexcept nogil:
    # The guess is timed first: a short call does nothing else.
    cdef int threads = least
    pace.m, pace.least, pace.most, pace.owned = m, least, most, most_owners
    pace.ways = pace.best = pace.rounds = 0
    add_way(pace, guess, 0)
    while threads <= most:
        if threads != guess:
            add_way(pace, threads, 0)
        if 1 < threads <= most_owners:
            add_way(pace, threads, 1)
        threads = most if threads < most < 2 * threads else 2 * threads
    begin_round(pace)


cdef inline void add_way(Pace *pace, int threads, int owners) noexcept nogil:
    if pace.ways < WAYS:
        pace.threads[pace.ways], pace.owners[pace.ways] = threads, owners
        pace.cost[pace.ways] = 1e300
        pace.ways += 1


cdef inline void begin_round(Pace *pace) noexcept nogil:
    # What was twice as slow as the best is asked only now and then.
    cdef int way
    cdef double limit = 2 * pace.cost[pace.best] if pace.rounds % 16 else 1e300
    pace.asked = 0
    for way in range(pace.ways):
        if pace.cost[way] <= limit:
            pace.order[pace.asked] = way
            pace.asked += 1
            pace.cost[way] = 1e300
    pace.trial = ROUNDS * pace.asked if pace.ways > 1 else 0
    pace.settled = 1e300
    pace.rounds += 1


cdef inline int current_way(const Pace *pace) noexcept nogil:
    return pace.order[pace.trial % pace.asked] if pace.trial else pace.best


cdef inline double slice_seconds(const Pace *pace, double now) noexcept nogil:
    return 0.002 if pace.trial else max(<double>0.002, pace.settled - now)


cdef inline void report(Pace *pace, double per_sample, double now) noexcept nogil:
    # A slice at current_way() is over.
    cdef int way = current_way(pace), i
    cdef double rival = 1e300
    if pace.trial == 0:
        if now >= pace.settled:
            begin_round(pace)
        return
    pace.cost[way] = min(pace.cost[way], per_sample)
    pace.trial -= 1
    if pace.trial:
        return
    for i in range(pace.asked):
        if pace.cost[pace.order[i]] < pace.cost[pace.best]:
            pace.best = pace.order[i]
    for i in range(pace.asked):
        if pace.order[i] != pace.best:
            rival = min(rival, pace.cost[pace.order[i]])
    # Where the others are far behind, asking them costs more and tells less.
    pace.settled = now + (1 if rival < 1.3 * pace.cost[pace.best] else 8)
