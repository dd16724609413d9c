"""Mutation of derivatives: plant one mistake at a time, and see that the proof of the op fails.

    python tests/mutate.py                      all mutants: some minutes to an hour
    python tests/mutate.py --sample 100         that many, drawn by --seed
    python tests/mutate.py --module reduction   of one file
    python tests/mutate.py --processes 2 --json mutants.json

A mutant (tests/gradients/mutants.py) is killed if a piece of the proof (tests/gradients/proof.py)
fails on one of the cases that run the changed function. Each is tried in a process of its own, a
fork, so that nothing of it stays. Those that nothing can tell from the original are listed, with
the reason, in tests/gradients/equivalent.py; every other survivor is a hole in the proof.
"""

import argparse
import functools
import json
import os
import random
import resource
import select
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType
from typing import Any

HERE = Path(__file__).parent
SECONDS = 30  # of a processor: a mutant that takes longer has made a loop endless
MOST = 40  # cases for each function: of ops of its own file, then those that take least time
sys.path[:0] = [str(HERE), *[str(HERE / name) for name in ("ops", "gradients")]]
if __name__ == "__main__":
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    sys.path[:0] = [str(p) for p in (HERE.parent, HERE.parent / "kernels")]

import proof  # noqa: E402  (after the paths are set)
from equivalent import EQUIVALENT  # noqa: E402
from mutants import Mutant, all_mutants  # noqa: E402
from oracle import Ours, evaluate  # noqa: E402

import minidl_kernels  # noqa: E402
from minidl.ops import registry  # noqa: E402
from minidl_kernels.generic import convolution  # noqa: E402

Pair = tuple[str, Any]
ONCE = (proof.kinks, proof.of_nothing)  # are about an op, not about one of its cases


# ---- which cases concern a function -------------------------------------------------------------


def reached() -> dict[CodeType, list[Pair]]:
    """For each function's code the cases that run it, in the op or a derivative of it."""
    found: dict[CodeType, list[Pair]] = {}
    for name, cases in proof.cases().items():
        for case in cases:
            for code in _run_by(name, case):
                found.setdefault(code, []).append((name, case))
    return found


def _run_by(name: str, case: Any) -> set[CodeType]:
    codes: set[CodeType] = set()

    def look(frame: Any, event: str, _: Any) -> None:
        if event == "call":
            codes.add(frame.f_code)

    args, options = case.realised(2)
    subject = proof.Subject(name, case, 2)
    sys.setprofile(look)
    try:
        proof.gradients(subject, subject.points)  # fused ops run their definition for a graph only
        evaluate(proof.function(name), Ours.leaf, Ours, case, args, options)
        proof.on_a_device(name, case)
    finally:
        sys.setprofile(None)
    return codes


def ordered(cases: dict[CodeType, list[Pair]]) -> dict[CodeType, list[Pair]]:
    """The same, in the order in which they are tried. Raises unless the proof stands for all.

    First the cases of the function's own file, then those that take least time. A proof that fails
    of itself would kill every mutant.
    """
    pairs = {id(case): (name, case) for concerned in cases.values() for name, case in concerned}
    taken: dict[int, float] = {}
    for key, pair in pairs.items():
        start = time.perf_counter()
        if failed := killer([pair]):
            raise SystemExit(f"no mutant is planted, and the proof fails: {failed}")
        taken[key] = time.perf_counter() - start

    def rank(code: CodeType, pair: Pair) -> tuple[bool, float]:
        op = registry.get(pair[0])
        forward = getattr(op, "forward", getattr(op, "function", None))
        here = forward is not None and forward.__code__.co_filename == code.co_filename
        return not here, taken[id(pair[1])]

    return {
        code: sorted(concerned, key=functools.partial(rank, code))[:MOST]
        for code, concerned in cases.items()
    }


# ---- one mutant ---------------------------------------------------------------------------------


def planted(mutant: Mutant) -> Callable[[], None]:
    """Put a mutant in place of the original; returns what takes it out again."""
    function = mutant.target.function
    original = function.__code__
    function.__code__ = mutant.code

    def undo() -> None:
        function.__code__ = original

    return undo


def killer(pairs: list[Pair], pieces: tuple[Callable[..., Any], ...] = proof.PIECES) -> str | None:
    """The first piece of the proof that fails, with the case; None if all stand."""
    firsts = list({name: (name, proof.cases()[name][0]) for name, _ in pairs}.values())
    for piece in pieces:
        for name, case in firsts if piece in ONCE else pairs:
            try:
                piece(name, case)
            except Exception as error:
                return f"{piece.__name__} of {name}: {type(error).__name__}: {error}"
    return None


def tried(mutant: Mutant, pairs: list[Pair]) -> tuple[int, int]:
    """Start a process that tries a mutant; return its id and the pipe of its verdict."""
    read, write = os.pipe()
    child = os.fork()
    if child:
        os.close(write)
        return child, read
    os.close(read)
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115 (the process ends here)
    planted(mutant)
    verdict = killer(pairs)
    os.write(write, (verdict or "survived")[:200].encode())
    os._exit(0)


def results(
    mutants: list[Mutant], cases: dict[CodeType, list[Pair]], processes: int
) -> Iterator[tuple[Mutant, str]]:
    """Each mutant with its verdict: what killed it, or "survived"."""
    waiting, running = list(reversed(mutants)), {}
    while waiting or running:
        while waiting and len(running) < processes:
            mutant = waiting.pop()
            pairs = cases.get(mutant.target.function.__code__, [])
            child, pipe = tried(mutant, pairs)
            running[pipe] = (mutant, child)
        for pipe in select.select(list(running), [], [])[0]:
            verdict = os.read(pipe, 1000).decode()
            os.close(pipe)
            mutant, child = running.pop(pipe)
            os.waitpid(child, 0)
            yield mutant, verdict or "the process ended or took too long"


# ---- the report ---------------------------------------------------------------------------------


def chosen(options: argparse.Namespace) -> list[Mutant]:
    """The mutants that were asked for."""
    found = [m for m in all_mutants() if options.module in m.target.file]
    if options.function:
        found = [m for m in found if options.function == m.target.name]
    if options.sample and options.sample < len(found):
        places = sorted(random.Random(options.seed).sample(range(len(found)), options.sample))
        found = [found[i] for i in places]
    return found


def main() -> int:
    """Run the mutants and print what survived; 1 if more than 2 % of those not equivalent did."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--module", default="", help="part of a file's name")
    parser.add_argument("--function", help="one function, as the list of survivors names it")
    parser.add_argument("--sample", type=int, help="how many mutants to draw")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", type=Path, help="write every verdict to this file")
    options = parser.parse_args()
    warnings.simplefilter("error")  # as pytest does: an overflow is a failure
    minidl_kernels._ROOMS["cpu"] = ("generic",)  # the kernels that are mutated, and no compiler
    convolution.CPU_CHUNK = 64  # bytes: several chunks even of what is small
    start = time.perf_counter()
    mutants = chosen(options)
    codes = {m.target.function.__code__ for m in mutants}
    cases = ordered({code: pairs for code, pairs in reached().items() if code in codes})
    print(f"{len(mutants)} mutants; without them the proof stands ({_since(start)})", flush=True)
    verdicts: list[tuple[Mutant, str]] = []
    for number, (mutant, verdict) in enumerate(results(mutants, cases, options.processes), 1):
        verdicts.append((mutant, verdict))
        if verdict == "survived":
            known = EQUIVALENT.get(mutant.key)
            print(f"{'equivalent' if known else 'SURVIVED'}  {mutant}", flush=True)
        if number % 100 == 0:
            print(f"{number} of {len(mutants)}, {_since(start)}", flush=True)
    return report(verdicts, options.json)


def _since(start: float) -> str:
    return f"{time.perf_counter() - start:.0f} s"


def report(verdicts: list[tuple[Mutant, str]], path: Path | None) -> int:
    """Print the counts; write the verdicts."""
    survivors = [m for m, v in verdicts if v == "survived" and m.key not in EQUIVALENT]
    same = [m for m, v in verdicts if v == "survived" and m.key in EQUIVALENT]
    told = [m for m, v in verdicts if v != "survived" and m.key in EQUIVALENT]
    counted = len(verdicts) - len(same)
    killed = counted - len(survivors)
    pieces = Counter(v.partition(" of ")[0] for _, v in verdicts if v != "survived")
    print(f"killed by: {dict(pieces.most_common())}")
    stale = EQUIVALENT.keys() - {m.key for m in all_mutants()}
    for key in stale:
        print(f"listed as equivalent, but there is no such mutant: {key}")
    for m in told:
        print(f"listed as equivalent, but killed: {m}")
    print(
        f"{len(verdicts)} mutants: {killed} killed, {len(survivors)} survived, "
        f"{len(same)} equivalent; killed {100 * killed / max(counted, 1):.1f} % of {counted}"
    )
    if path:
        rows = [[m.target.file, m.kind, *m.key, v] for m, v in verdicts]
        path.write_text(json.dumps(rows, indent=0))
    return int(killed < 0.98 * counted or bool(told or stale))


if __name__ == "__main__":
    raise SystemExit(main())
