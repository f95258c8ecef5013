# How many threads, and how they share the work: found by timing while training runs, and
# looked at again now and then. Bits do not depend on the choice, so it is free to change.
from cbackprop._kernels cimport cb_index

cdef enum:
    WAYS = 24               # at most
    MOST_THREADS = 16       # that may own columns, or take turns
    ROUNDS = 3              # slices timed for each way; the best counts

cdef enum Partition:
    SAMPLES                 # _partitions.by_samples
    COLUMNS
    TURNS


cdef struct Pace:
    cb_index m              # what it was found for: the mini-batch's size
    int least, most         # and the threads allowed
    int owners, takers      # and those that may own columns, or take turns
    int ways
    int threads[WAYS]
    Partition partition[WAYS]
    double cost[WAYS]       # seconds a sample, the least of a round's slices
    int best
    int trial               # slices still to time in this round
    double spent            # seconds on this round
    double rest             # seconds of training before the next round
    double patience         # a rest lasts so many times what its round lost


cdef inline void begin_pace(Pace *pace, cb_index m, int least, int most, int guess, int owners,
                            int takers) noexcept nogil:
    # The guess is timed first: a short call does nothing else.
    cdef int threads = least
    pace.m, pace.least, pace.most, pace.owners, pace.takers = m, least, most, owners, takers
    pace.ways = pace.best = 0
    pace.patience = 25
    if guess <= takers:
        add_way(pace, guess, TURNS)
    add_way(pace, guess, SAMPLES)
    while threads <= most:
        if threads != guess:
            if threads <= takers:
                add_way(pace, threads, TURNS)
            add_way(pace, threads, SAMPLES)
        if 1 < threads <= owners:
            add_way(pace, threads, COLUMNS)
        threads = most if threads < most < 2 * threads else 2 * threads
    begin_round(pace)


cdef inline void add_way(Pace *pace, int threads, Partition partition) noexcept nogil:
    if pace.ways < WAYS:
        pace.threads[pace.ways], pace.partition[pace.ways] = threads, partition
        pace.ways += 1


cdef inline void begin_round(Pace *pace) noexcept nogil:
    cdef int way
    for way in range(pace.ways):
        pace.cost[way] = 1e300
    pace.trial = ROUNDS * pace.ways if pace.ways > 1 else 0
    pace.rest = 1e300
    pace.spent = 0


cdef inline int current_way(const Pace *pace) noexcept nogil:
    # The best so far comes first.
    if pace.trial == 0:
        return pace.best
    return (pace.best + ROUNDS * pace.ways - pace.trial) % pace.ways


cdef inline double slice_seconds(const Pace *pace) noexcept nogil:
    return 0.002 if pace.trial else max(<double>0.002, pace.rest)


cdef inline void report(Pace *pace, double per_sample, double elapsed) noexcept nogil:
    # A slice at current_way() is over.
    cdef int way = current_way(pace)
    cdef double lost = 0
    if pace.trial == 0:
        pace.rest -= elapsed
        if pace.rest <= 0:
            begin_round(pace)
        return
    pace.cost[way] = min(pace.cost[way], per_sample)
    pace.spent += elapsed
    pace.trial -= 1
    # Long slices, of one long mini-batch each, need no second look.
    if pace.trial and (pace.trial % pace.ways or pace.spent < 0.02):
        return
    pace.trial = 0
    for way in range(pace.ways):
        if pace.cost[way] < pace.cost[pace.best]:
            pace.best = way
    for way in range(pace.ways):
        lost += pace.spent / pace.ways * (1 - pace.cost[pace.best] / pace.cost[way])
    # Asking the others costs a 25th of the time at first, as threads that have just woken may
    # share a core for a while; a fiftieth in the long run.
    pace.rest = max(<double>0.1, pace.patience * lost)
    pace.patience = min(<double>50, 2 * pace.patience)
