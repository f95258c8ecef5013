"""Print the constants of ``src/vecmath.h`` and ``src/specialmath.h``.

Run ``python tests/campaigns/minimax.py``; needs mpmath, which nothing else does.
Polynomials are minimax approximations found by the Remez exchange [1]_, worked in 60
digits; the coefficients are then rounded to the format, and the error printed is theirs.

.. [1] J.-M. Muller, "Elementary Functions: Algorithms and Implementation", 3rd ed.,
   Birkhaeuser 2016, chapters 3 and 4.
"""

import mpmath as mp

mp.mp.dps = 60

FORMATS = {32: (24, 127, "f"), 64: (53, 1023, "")}  # bits: precision, exponent bias, suffix


def to_format(value, precision):
    """Round `value` to `precision` bits, to nearest."""
    with mp.workprec(precision):
        return +mp.mpf(value)


def to_hex(value, suffix):
    """Spell `value`, a number of at most 53 bits, as a hexadecimal C constant."""
    mantissa, exponent = float(value).hex().split("p")
    if "." in mantissa:
        mantissa = mantissa.rstrip("0").rstrip(".")
    return f"{mantissa}p{exponent}{suffix}"


def solve_exchange(f, weight, n, points):
    """Fit n coefficients with an error of alternating sign and equal size at `points`."""
    matrix, right = mp.matrix(n + 1), mp.matrix(n + 1, 1)
    for i, x in enumerate(points):
        for j in range(n):
            matrix[i, j] = x**j
        matrix[i, n] = (-1) ** i / weight(x)
        right[i] = f(x)
    solution = mp.lu_solve(matrix, right)
    return [solution[j] for j in range(n)]


def chebyshev_points(low, high, n):
    """Return the n + 1 extrema of the Chebyshev polynomial T_n on [low, high]."""
    return [(low + high) / 2 - (high - low) / 2 * mp.cos(mp.pi * i / n) for i in range(n + 1)]


def alternating_extrema(error, low, high, count):
    """Find where |error| is largest between its changes of sign, on a dense grid."""
    best = []
    for x in chebyshev_points(low, high, 200 * count):
        e = error(x)
        if not best or (best[-1][1] > 0) != (e > 0):
            best.append((x, e))
        elif abs(e) > abs(best[-1][1]):
            best[-1] = (x, e)
    while len(best) > count:
        best.pop(0 if abs(best[0][1]) < abs(best[-1][1]) else -1)
    return best


def remez(f, weight, n, low, high):
    """Return the n coefficients p that minimise max |weight (f - p)| on [low, high]."""
    points = chebyshev_points(low, high, n)
    for _ in range(12):
        p = solve_exchange(f, weight, n, points)
        best = alternating_extrema(
            lambda x, p=p: weight(x) * (f(x) - mp.polyval(p[::-1], x)), low, high, n + 1
        )
        sizes = [abs(e) for _, e in best]
        if len(best) < n + 1 or max(sizes) < min(sizes) * mp.mpf("1.001"):
            break
        points = [x for x, _ in best]
    return p


def fit(f, weight, n, low, high, precision):
    """Return n rounded coefficients and the largest weighted error they leave."""
    p = [to_format(c, precision) for c in remez(f, weight, n, low, high)]
    grid = chebyshev_points(low, high, 4000)
    return p, max(abs(weight(x) * (f(x) - mp.polyval(p[::-1], x))) for x in grid)


def exp_quotient(r):
    """Evaluate (e**r - 1 - r) / r**2."""
    if abs(r) < mp.mpf("1e-12"):
        return mp.mpf(1) / 2 + r / 6 + r * r / 24
    return (mp.expm1(r) - r) / r**2


def tanh_quotient(u):
    """Evaluate tanh(u) / u."""
    if abs(u) < mp.mpf("1e-10"):
        return 1 - u * u / 3
    return mp.tanh(u) / u


def even_rest(s):
    """Evaluate (tanh_quotient(u) - 1) / u**2 for s = u**2."""
    if s < mp.mpf("1e-10"):
        return -mp.mpf(1) / 3 + 2 * s / 15
    return (tanh_quotient(mp.sqrt(s)) - 1) / s


def log_quotient(z):
    """Evaluate (2 atanh(s) - 2 s) / s**3 for z = s**2."""
    if z < mp.mpf("1e-12"):
        return mp.mpf(2) / 3 + 2 * z / 5 + 2 * z * z / 7
    s = mp.sqrt(z)
    return (2 * mp.atanh(s) - 2 * s) / (s * z)


def sin_quotient(s):
    """Evaluate (sin r - r) / r**3 for s = r**2."""
    if s < mp.mpf("1e-12"):
        return -mp.mpf(1) / 6 + s / 120
    r = mp.sqrt(s)
    return (mp.sin(r) - r) / (s * r)


def scaled_tail(t, k):
    """Evaluate (1 + 1.5 u) e**(u**2 / 2) Q(u), Q the normal tail, for t = (u - k) / (u + k)."""
    u = k * (1 + t) / (1 - t)
    return (1 + mp.mpf("1.5") * u) * mp.exp(u * u / 2) * mp.erfc(u / mp.sqrt(2)) / 2


def split(value, precision, parts=2):
    """Return `value` as a sum of numbers of the format."""
    numbers = []
    for _ in range(parts):
        numbers.append(to_format(value - sum(numbers), precision))
    return numbers


def round_up(value, precision):
    """Return the smallest number of the format that is >= value."""
    with mp.workprec(precision):
        nearest = +value
    if nearest >= value:
        return nearest
    _, exponent = mp.frexp(value)
    return nearest + mp.ldexp(1, int(exponent) - precision)


def report_special(bits, sin_terms, tail_terms, k, most):
    """Print the constants of ``src/specialmath.h`` for one precision."""
    precision, _, suffix = FORMATS[bits]
    limit = (mp.pi / 2 * mp.mpf("1.01")) ** 2
    sin_coefficients, sin_error = fit(
        sin_quotient, lambda s: s + mp.mpf("0.01"), sin_terms, mp.mpf(0), limit, precision
    )
    low, high = mp.mpf(-1), mp.mpf(most - k) / (most + k)
    tail_coefficients, tail_error = fit(
        lambda t: scaled_tail(t, k), lambda t: mp.mpf(1), tail_terms, low, high, precision
    )
    print(f"/* {bits} bits */")
    for i, part in enumerate(split(mp.pi, precision, 3), start=1):
        print(f"#define PI_{i} {to_hex(part, suffix)}")
    print(f"#define PI_INVERSE {to_hex(to_format(1 / mp.pi, precision), suffix)}")
    root = to_format(1 / mp.sqrt(2 * mp.pi), precision)
    print(f"#define DENSITY {to_hex(root, suffix)} /* 1 / sqrt(2 pi) */")
    epsilons = 2 ** (precision - 1)
    print("sin_terms:", ", ".join(to_hex(c, suffix) for c in sin_coefficients))
    print(f"  relative error of r + r^3 p(r^2): {mp.nstr(sin_error * epsilons, 3)} epsilon")
    print("tail_terms:", ", ".join(to_hex(c, suffix) for c in tail_coefficients))
    print(f"  error of p(t): {mp.nstr(tail_error * epsilons, 3)} epsilon")


def report_tanh(width, end, pieces, terms):
    """Print the pieces of tanh(u) / u in float, 0 <= u <= end, about 0, width, 2 width, ...

    The width is one at which tanh(u) / u lies close to a float at all centres [1]_.

    .. [1] S. Gal, B. Bachelis, "An accurate elementary mathematical library for the IEEE
       floating point standard", ACM Trans. Math. Softw. 17, 1991.
    """
    precision, _, suffix = FORMATS[32]
    half = width / 2 * mp.mpf("1.0001")
    table = []
    for k in range(pieces):
        high = end - k * width if k == pieces - 1 else half
        if k == 0:  # even, and exact at 0
            even, _ = fit(
                even_rest,
                lambda s: s + mp.mpf("0.001"),
                (terms - 1) // 2,
                mp.mpf(0),
                high**2,
                precision,
            )
            p = [mp.mpf(1)] + [c for e in even for c in (mp.mpf(0), e)]
            error = max(
                abs(mp.polyval(p[::-1], u) / tanh_quotient(u) - 1)
                for u in chebyshev_points(mp.mpf(0), high, 300)
            )
        else:
            p, error = fit(
                lambda t, k=k: tanh_quotient(k * width + t),
                lambda t, k=k: 1 / tanh_quotient(k * width + t),
                terms,
                -half,
                high,
                precision,
            )
        table.append(p)
        print(f"/* piece {k}: relative error {mp.nstr(error * 2 ** (precision - 1), 3)} epsilon */")
    print(f"#define TANH_WIDTH {to_hex(width, suffix)}")
    for i in range(terms):
        print("    {" + ", ".join(to_hex(p[i], suffix) for p in table) + "},")


def report(bits, exp_terms, log_terms):
    """Print every constant of ``src/vecmath.h`` for one precision."""
    precision, bias, suffix = FORMATS[bits]
    ln2 = mp.log(2)
    limit = ln2 / 2 * mp.mpf("1.001")
    exp_coefficients, exp_error = fit(
        exp_quotient, lambda r: abs(r) + limit / 8, exp_terms, -limit, limit, precision
    )
    log_coefficients, log_error = fit(
        log_quotient,
        lambda z: z + mp.mpf("0.001"),
        log_terms,
        mp.mpf(0),
        mp.mpf("0.0401"),
        precision,
    )
    high, low = split(ln2, precision)
    print(f"/* {bits} bits */")
    constants = {
        "LOG2_E": to_format(1 / ln2, precision),
        "LN2_HIGH": high,
        "LN2_LOW": low,
        "EXP_MIN": round_up((1 - bias) * ln2, precision),
        "EXP_END": round_up((bias + 1) * ln2, precision),
        "ROUNDER": mp.ldexp(3, precision - 2) + bias,
        "SQRT_HALF": to_format(mp.sqrt(0.5), precision),
    }
    for name, value in constants.items():
        print(f"#define {name} {to_hex(value, suffix)}")
    epsilons = 2 ** (precision - 1)
    print("exp_terms:", ", ".join(to_hex(c, suffix) for c in exp_coefficients))
    print(f"  relative error of r + r^2 p(r): {mp.nstr(exp_error * epsilons, 3)} epsilon")
    print("log_terms:", ", ".join(to_hex(c, suffix) for c in log_coefficients))
    print(f"  relative error of 2 s + s^3 p(s^2): {mp.nstr(log_error / 2 * epsilons, 3)} epsilon")


if __name__ == "__main__":
    report(32, 5, 3)
    report_tanh(mp.mpf(38426) / 65536, mp.mpf("9.02"), 16, 7)
    report(64, 10, 7)
    report_special(32, 5, 11, 4, 14)
    report_special(64, 9, 24, 5, 39)
