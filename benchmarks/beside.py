"""python -m benchmarks.beside: training while other threads of the process keep Python busy.

Microseconds a step, medians of five samples, beside none, one and four threads that compute in
Python all the time. The core lets Python's lock go; what it costs to take it back shows here.
"""

import argparse
import statistics
import threading
import time

from cbackprop._bench import WORKLOADS, network


def sample(net, work, X, y, threads, epochs):
    begin = time.perf_counter()
    net.train(
        X, y, epochs=epochs, batch_size=work.batch, optimizer=work.optimizer,
        learning_rate=work.learning_rate, n_threads=threads,
    )  # fmt: skip
    return time.perf_counter() - begin


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.beside", description=__doc__)
    parser.add_argument("--rows", default="book,std,tab")
    parser.add_argument("--seconds", type=float, default=0.5, help="about, of one sample")
    options = parser.parse_args()
    others = (0, 1, 4)
    print("row     threads" + "".join(f"{f'beside {n}':>12}" for n in others))
    for row in options.rows.split(","):
        work = WORKLOADS[row]
        X, y, weights = work.data()
        steps = -(-work.rows // work.batch)
        for threads in (1, None):
            net = network(work, weights, "float32")
            once = min(sample(net, work, X, y, threads, 1) for _ in range(4))
            epochs = max(1, round(options.seconds / once))
            medians = []
            for count in others:
                done = threading.Event()

                def compute(done=done):
                    while not done.is_set():
                        sum(range(1000))

                team = [threading.Thread(target=compute) for _ in range(count)]
                for thread in team:
                    thread.start()
                try:
                    times = [sample(net, work, X, y, threads, epochs) for _ in range(5)]
                finally:
                    done.set()
                for thread in team:
                    thread.join()
                medians.append(statistics.median(times) / epochs / steps * 1e6)
            name = "default" if threads is None else threads
            print(f"{row:<8}{name!s:>7}" + "".join(f"{us:>12.1f}" for us in medians), flush=True)


if __name__ == "__main__":
    main()
