# What the optimisers of src/updates.h need to know of one step.
from libc.math cimport INFINITY, sqrt
from libc.stdint cimport int64_t

from cbackprop._engine cimport Engine
from cbackprop._kernels cimport (CB_ADAGRAD, CB_ADAM, CB_AMSGRAD, CB_NADAM, CB_SGD,
                                 CB_SGD_ADJUSTED, Pass, cb_index, cb_update)


cdef struct Rule:
    int code                # enum cb_rule
    double beta1, beta2, eps, low, high
    double slowing          # Adagrad's learning_rate_decay
    double drift            # NAdam's 0.96^momentum_decay
    double weight_decay     # decoupled


cdef struct Descent:
    # A rule, its state and everything besides the gradient that a step depends on.
    Rule rule
    double eta
    double l1, l2           # lambda / n
    double clip             # of each element of the gradient; or infinity
    cb_index planes
    char *state             # [planes][n_bytes]
    int64_t steps           # taken since the state began
    double product          # NAdam's: of its beta1 over the steps


cdef class State:
    cdef object arena
    cdef Engine engine
    cdef readonly str name
    cdef readonly int planes
    cdef public int64_t steps
    cdef public double product
    cdef char *at
    cdef void lend(self, const Pass *p) noexcept


cdef Descent descent_of(State state, rule, double eta)


cdef inline double power(double x, int64_t n) noexcept nogil:
    # By squaring: the same bits on every machine, which libm's pow does not promise.
    cdef double result = 1
    while n > 0:
        if n & 1:
            result *= x
        x *= x
        n >>= 1
    return result


cdef inline void next_step(Descent *d, double m, cb_update *u) noexcept nogil:
    # The update of the next mini-batch, of m samples or weights that sum to m.
    cdef const Rule *r = &d.rule
    cdef double mu, mu_next
    d.steps += 1
    u.rule, u.goes_on = r.code, 0
    u.adjusts = d.l1 != 0 or d.l2 != 0 or d.clip < INFINITY
    u.m, u.per_sample, u.rate = m, 1 / m, d.eta
    u.decay = u.bias_decay = 1 - d.eta * r.weight_decay
    u.l1, u.l2, u.clip = m * d.l1, m * d.l2, m * d.clip
    u.beta1, u.beta2, u.eps = r.beta1, r.beta2, r.eps
    u.rest1, u.rest2 = 1 - r.beta1, 1 - r.beta2
    u.root, u.ahead, u.low, u.high = 1, 0, r.low, r.high
    if r.code == CB_SGD:        # the book's: (1 - eta lambda/n) w - eta/m sum
        u.rate, u.l2 = d.eta / m, 0
        u.decay *= 1 - d.eta * d.l2
        u.adjusts = d.l1 != 0 or d.clip < INFINITY
        if u.adjusts or r.weight_decay != 0:
            u.rule = CB_SGD_ADJUSTED
    elif r.code == CB_ADAGRAD:
        u.rate = d.eta / (1 + (d.steps - 1) * r.slowing)
    elif r.code == CB_ADAM or r.code == CB_AMSGRAD:
        u.rate = d.eta / (1 - power(r.beta1, d.steps))
        u.root = 1 / sqrt(1 - power(r.beta2, d.steps))
    elif r.code == CB_NADAM:
        mu = r.beta1 * (1 - 0.5 * power(r.drift, d.steps))
        mu_next = r.beta1 * (1 - 0.5 * power(r.drift, d.steps + 1))
        d.product *= mu
        u.ahead = d.eta * (1 - mu) / (1 - d.product)
        u.rate = d.eta * mu_next / (1 - d.product * mu_next)
        u.root = 1 / sqrt(1 - power(r.beta2, d.steps))
