"""Sums and products around the least normal number, by the kernel table in use.

    python tests/campaigns/underflow.py file.npz

Writes z = x w + b for 1,280,000 pairs a case, predictions of a network without hidden layers in
both precisions: |x w| from 2^-60 to 2^60 times the least normal number, and b = 0 or up to 16
times it. `other_cpus` counts what differs between CPUs.
"""

import sys

import numpy as np

from cbackprop import Network


def random_numbers(rng, shape, dtype, low, high):
    """Return numbers of either sign, their exponents from low to high - 1, all bits random."""
    digits = np.finfo(dtype).nmant
    mantissa = rng.integers(2**digits, 2 ** (digits + 1), shape).astype(dtype)
    sign = rng.choice(np.array([-1, 1], dtype), shape)
    return sign * np.ldexp(mantissa, rng.integers(low, high, shape) - digits)


def results(dtype, with_bias):
    rng = np.random.default_rng(0)
    least = int(np.finfo(dtype).minexp)
    w = random_numbers(rng, (256, 1), dtype, least // 2 - 30, least // 2 + 30)
    x = random_numbers(rng, (5000, 1), dtype, least // 2 - 30, least // 2 + 30)
    b = random_numbers(rng, 256, dtype, least, least + 4) * with_bias
    net = Network([1, 256], output="identity", dtype=dtype, rng=0)
    net.weights, net.biases = [w], [b]
    return net.predict(x)


if __name__ == "__main__":
    cases = [(dtype, bias) for dtype in ("float32", "float64") for bias in (0, 1)]
    np.savez(
        sys.argv[1], **{f"{d} {'with' if b else 'without'} b": results(d, b) for d, b in cases}
    )
