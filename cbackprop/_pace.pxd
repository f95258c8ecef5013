# How many threads, and how they share the work: found by timing while training runs, and
# looked at again now and then. Bits do not depend on the choice, so it is free to change.
from cbackprop._kernels cimport cb_index

cdef enum:
    WAYS = 24               # at most
    MOST_THREADS = 16       # that may own columns, or take turns
    ROUNDS = 3              # slices timed for each way; the best counts
    MOST_PATIENCE = 100

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
    double slice[WAYS]      # seconds of that slice
    int slices[WAYS]        # of this round
    int best
    int trial               # slices still to time in this round
    int rounds              # that are over
    double spent            # seconds on this round
    double rest             # seconds of training before the next round
    double patience         # a rest lasts so many times what its round lost
    int slow                # slices in a row that took longer than the round promised
    double slow_seconds     # and the time they took: three of them, and in all
    double alarm            # so many seconds, begin a round;
    bint alarmed            # have begun this one


cdef inline void begin_pace(Pace *pace, cb_index m, int least, int most, int guess, int owners,
                            int takers) noexcept nogil:
    # The guess is timed first: a short call does nothing else.
    cdef int threads = least
    pace.m, pace.least, pace.most, pace.owners, pace.takers = m, least, most, owners, takers
    pace.ways = pace.best = pace.rounds = 0
    pace.patience, pace.alarm, pace.alarmed = 3, 0, False
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
        pace.cost[way], pace.slices[way] = 1e300, 0
    pace.trial = ROUNDS * pace.ways if pace.ways > 1 else 0
    pace.rest = 1e300
    pace.spent = 0
    pace.slow, pace.slow_seconds = 0, 0


cdef inline int current_way(const Pace *pace) noexcept nogil:
    # The best so far comes first.
    if pace.trial == 0:
        return pace.best
    return (pace.best + ROUNDS * pace.ways - pace.trial) % pace.ways


cdef inline double slice_seconds(const Pace *pace) noexcept nogil:
    # At rest as long as tells whether the way has become slower.
    if pace.ways == 1:
        return pace.rest
    return 0.002 if pace.trial else max(<double>0.002, min(<double>0.025, pace.rest))


cdef inline void report(Pace *pace, double per_sample, double elapsed) noexcept nogil:
    # A slice at current_way() is over.
    cdef int way = current_way(pace), best = pace.best
    cdef double lost = 0
    cdef bint clear, sure = True
    if pace.trial == 0:
        pace.rest -= elapsed
        if per_sample > 1.2 * pace.cost[pace.best]:
            pace.slow += 1
            pace.slow_seconds += elapsed
        else:
            pace.slow, pace.slow_seconds = 0, 0
        pace.alarmed = pace.slow >= 3 and pace.slow_seconds >= pace.alarm
        if pace.rest <= 0 or pace.alarmed:
            begin_round(pace)
        return
    if per_sample < pace.cost[way]:
        pace.cost[way], pace.slice[way] = per_sample, elapsed
    pace.slices[way] += 1
    pace.spent += elapsed
    pace.trial -= 1
    if pace.trial % pace.ways:
        return
    for way in range(pace.ways):
        if pace.cost[way] < pace.cost[best]:
            best = way
    clear = pace.rounds > 0 and best == pace.best
    for way in range(pace.ways):
        clear = clear and (way == best or pace.cost[way] > 1.1 * pace.cost[best])
    # Long slices, of one long mini-batch each, need no second look, nor does an old answer that
    # is clear.
    if pace.trial and pace.spent < 0.02 and not clear:
        return
    pace.trial = 0
    pace.rounds += 1
    # What asking costs, as long as nothing disturbs: a thread that waited long for its core
    # must not make a choice of that moment last.
    for way in range(pace.ways):
        lost += pace.slices[way] * pace.slice[way] * (1 - pace.cost[best] / pace.cost[way])
    # Asking the others costs a sixth of the time at first, as threads that have just woken may
    # share a core for a while, and so may those that another library leaves spinning; less and
    # less where the answer stays the same, for a way that becomes slower is seen without asking.
    # What disturbs makes many threads slower, not fewer: where they win by much, it was not that.
    for way in range(pace.ways):
        sure = sure and (pace.threads[way] == pace.threads[best]
                         or (pace.threads[way] < pace.threads[best]
                             and pace.cost[way] > 1.4 * pace.cost[best]))
    if sure:
        pace.patience = MOST_PATIENCE
    else:
        pace.patience = min(<double>MOST_PATIENCE, 2 * pace.patience) if best == pace.best else 6
    # A machine that others share becomes slower now and then, for all ways alike.
    if best != pace.best:
        pace.alarm = 0
    elif pace.alarmed:
        pace.alarm = max(<double>0.15, min(<double>2.4, 2 * pace.alarm))
    pace.alarmed = False
    pace.best = best
    pace.rest = max(<double>0.1, pace.patience * lost)
