"""What a newcomer waits for: the README's first command on a fresh clone, and the same once more.

    python tests/benchmarks/first_start.py                  in a temporary folder, a few minutes
    python tests/benchmarks/first_start.py --epochs 8       the example whole, as the README has it

Clones this repository (what is committed), makes an environment, installs minidl there and runs
examples/cnn.py twice. Of each run it prints CPU time and wall time until `import minidl` was done,
until the first three steps of the optimiser were, and what Numba compiled; and what the program
said on a terminal until then. On a busy machine CPU time says more; idle threads count in it too.
"""

import argparse
import os
import pty
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROBE = """
import runpy, sys, time
begun, report = time.perf_counter() - time.process_time(), open(sys.argv[1], "w")

def say(what):
    cpu, wall = time.process_time(), time.perf_counter() - begun
    print(f"{what}: {cpu:.2f} s of CPU time, {wall:.2f} s of wall time", file=report, flush=True)

import minidl
say("import minidl")
from minidl import optim
from numba.core import event

class Listener(event.Listener):
    depth = compiled = 0

    def on_start(self, event):
        self.depth += 1
        if self.depth == 1:
            self.start = time.process_time()

    def on_end(self, event):
        self.depth -= 1
        if self.depth == 0:
            self.compiled += time.process_time() - self.start

def counted(self, *args, **options):
    global steps
    found = step(self, *args, **options)
    steps += 1
    if steps in (1, 3):
        say(f"step {steps}")
    return found

listener, steps, step = Listener(), 0, optim.Adam.step
event.register("numba:compiler_lock", listener)
optim.Adam.step = counted
sys.argv = sys.argv[2:]
sys.path.insert(0, "examples")
runpy.run_path(sys.argv[0], run_name="__main__")
say("the end")
print(f"compiled: {listener.compiled:.2f} s of CPU time", file=report, flush=True)
"""


def on_a_terminal(command: list[str], folder: Path, environment: dict[str, str]) -> str:
    """Run a command whose output is a terminal; return what it wrote there."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdin=follower, stdout=follower, stderr=follower
    )
    os.close(follower)
    written = b""
    while True:
        try:
            part = os.read(leader, 4096)
        except OSError:  # Linux says so that the other end is closed
            part = b""
        if not part:
            break
        written += part
    os.close(leader)
    text = written.decode(errors="replace").replace("\r", "\n")
    if process.wait():
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}:\n{text}")
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--epochs", type=int, default=1)
    epochs = str(parser.parse_args().epochs)
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "minidl"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        subprocess.run([sys.executable, "-m", "venv", ".venv"], cwd=clone, check=True)
        python = str(clone / ".venv" / "bin" / "python")
        install = ["-m", "pip", "install", "--quiet", "-e", ".[examples]"]
        subprocess.run([python, *install], cwd=clone, check=True)
        hidden = ("PYTHONPATH", "NUMBA_CACHE_DIR")
        environment = {k: v for k, v in os.environ.items() if k not in hidden}
        report = clone / "report.txt"
        example = ["examples/cnn.py", "--epochs", epochs, "--out", "out/first"]
        command = [python, "-c", PROBE, str(report), *example]
        for run in ("first start", "second start"):
            print(f"{run}:", end="\n  ")
            text = on_a_terminal(command, clone, environment)
            said = [line for line in text.splitlines() if "minidl: " in line]
            lines = [*report.read_text(encoding="utf-8").splitlines(), *said]
            print(*lines, sep="\n  ", flush=True)


if __name__ == "__main__":
    main()
