"""What numbers below 1.2e-38 cost: every kernel on inputs of 1e-40 against the same of 1.

    PYTHONPATH=.:kernels python tests/benchmarks/subnormal.py

CPU time of one thread, float32, rounds of both interleaved, medians. The calls are those of
tests/kernels/every_kernel.py.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

from minidl_kernels.cpu import threads

sys.path.insert(0, str(Path(__file__).parents[1] / "kernels"))
from every_kernel import CALLS, Draw, results

SAMPLE = 0.002  # seconds, at least, that are timed together


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    threads.set_num_threads(1)
    rows = []
    for call, arguments in CALLS.items():
        given = [arguments(Draw("float32", large=True, scale=scale)) for scale in (1.0, 1e-40)]
        results(call, given[0])
        start = time.process_time()
        results(call, given[0])
        count = 1 + int(SAMPLE / max(time.process_time() - start, 1e-6))
        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(rounds):
            for found, args in zip(times, given, strict=True):
                start = time.process_time()
                for _ in range(count):
                    results(call, args)
                found.append((time.process_time() - start) / count * 1e3)
        plain, small = map(statistics.median, times)
        rows.append((small / plain, call, plain, small))
    print("| kernel | ms | ms, subnormal | ratio |\n|---|---|---|---|")
    for ratio, call, plain, small in sorted(rows, reverse=True):
        print(f"| {call} | {plain:.3f} | {small:.3f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
