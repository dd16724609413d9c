"""The threads that share a launch, and how they do it without waiting for each other.

The thread that launches is the team's first; the others wait for work in `_serve`. The tasks are
cut into equal shares, in order, one a member. Who is done with its own takes what is left of the
others': so nobody waits for a member that sleeps or has no CPU, but for a task that it has begun,
and on a busy machine a launch of many tasks takes little longer than on one thread.

Idle members wait awake for a moment, for a thread that slept starts too late for a short launch;
all the while they offer their CPU to whoever wants it. Then they sleep in Python, on a lock of
their own.

What is to be done stands on the board: integers, each kind in lines of the cache of its own.

    CALL           kernel, tasks, room, step, args, members
    TURN           counts launches: members look at it while they wait
    DONE           how many tasks are done: the first one waits until all are
    CLOSED         whether members are to come home, for the process ends
    SHARES, …      for each member, how many tasks of its share are left

To take a task is to lower a share by one, which succeeds only where one is left. As a launch ends
when all its tasks are done, who has taken one knows that CALL is its own launch's; and who comes
late finds nothing to take. When two Python threads launch at once, the second one computes alone.
A forked child makes a team of its own.
"""

import atexit
import contextlib
import os
import threading
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from minidl_kernels.cpu import threads
from minidl_kernels.cpu.atomics import add, read, relax, take, write, yield_cpu
from minidl_kernels.cpu.compiling import compiled, helper
from minidl_kernels.cpu.emit import intrinsic
from minidl_kernels.cpu.memory import address

__all__ = ["alone", "compile_loops", "together"]

LINE = 128  # bytes: processors fetch lines of 64 in pairs
WORD = 8
TURN, DONE, CLOSED, SHARES = LINE, 2 * LINE, 3 * LINE, 4 * LINE  # CALL is at 0
KERNEL, TASKS, ROOM, STEP, ARGS, MEMBERS = range(0, 6 * WORD, WORD)
PAUSES = 32  # between two offers of the CPU, which take some 0.3 us
PATIENCE = 2000  # such offers until a member goes to sleep, after 1 ms or more


@intrinsic
def _call(typing: Any, kernel: Any, task: Any, room: Any, args: Any) -> Any:
    """Call the function at an address."""
    n = types.intp

    def generate(context: Any, b: Any, sig: Any, values: Any) -> Any:
        word = context.get_value_type(n)
        kind = ir.FunctionType(ir.VoidType(), [word] * 3)
        b.call(b.inttoptr(values[0], kind.as_pointer()), values[1:])
        return context.get_dummy_value()

    return types.void(n, n, n, n), generate


@compiled
def alone(kernel: int, tasks: int, room: int, step: int, args: int) -> None:
    """Do all tasks on this thread."""
    for task in range(tasks):
        _call(kernel, task, room, args)


@compiled
def _lead(
    board: int, kernel: int, tasks: int, room: int, step: int, args: int, members: int
) -> None:
    """Put a launch on the board, take part in it, and wait until it is done."""
    write(board + KERNEL, kernel)
    write(board + TASKS, tasks)
    write(board + ROOM, room)
    write(board + STEP, step)
    write(board + ARGS, args)
    write(board + MEMBERS, members)
    write(board + DONE, 0)
    for k in range(members):
        count = (k + 1) * tasks // members - k * tasks // members
        write(board + SHARES + k * LINE, count)
    add(board + TURN, 1)
    _work(board, 0)
    done = read(board + DONE)
    while done < tasks:
        done = _look(board + DONE, done)


@compiled
def _serve(board: int, member: int, turn: int, patience: int) -> int:
    """Take part in launches after `turn`, until none has come for a while; return the last one."""
    left = patience
    while left > 0 and read(board + CLOSED) == 0:
        now = _look(board + TURN, turn)
        left -= 1
        if now != turn:
            turn, left = now, patience
            _work(board, member)
    return turn


@helper
def _look(place: int, seen: int) -> int:
    """The number at a place: at once if it is not `seen`, or else after a moment."""
    for _ in range(PAUSES):
        now = read(place)
        if now != seen:
            return now
        relax()
    yield_cpu()
    return read(place)


@helper
def _work(board: int, member: int) -> None:
    """Do tasks of the launch on the board until none is left: first one's own share."""
    members, done = read(board + MEMBERS), 0
    for k in range(members if member < members else 0):
        share = (member + k) % members
        place = board + SHARES + share * LINE
        left = read(place)
        while left > 0:
            if take(place, left):
                # Only now is it certain that the board is that of the task's launch.
                end = (share + 1) * read(board + TASKS) // read(board + MEMBERS)
                room = read(board + ROOM) + member * read(board + STEP)
                _call(read(board + KERNEL), end - left, room, read(board + ARGS))
                done += 1
            left = read(place)
    if done > 0:
        add(board + DONE, done)


class _Team:
    """The threads of this process that take part in launches, and their board."""

    def __init__(self) -> None:
        self.memory: Any = np.zeros((SHARES + (threads.most() + 1) * LINE) // WORD, np.int64)
        self.board = -(-address(self.memory) // LINE) * LINE
        self.words = self.memory[(self.board - address(self.memory)) // WORD :]
        self.launching = threading.Lock()
        self.asleep: list[Any] = []  # locks, each of a member that waits for it
        self.crew: list[threading.Thread] = []
        self.closed = False

    def together(self, kernel: int, tasks: int, room: int, step: int, args: int) -> None:
        """Make a launch; alone while another one is under way."""
        if self.closed or not self.launching.acquire(blocking=False):
            alone(kernel, tasks, room, step, args)
            return
        try:
            members = min(threads.count, tasks)
            if len(self.crew) < members - 1:
                members = min(members, self._hire(members - 1) + 1)
            while self.asleep:
                self.asleep.pop().release()
            _lead(self.board, kernel, tasks, room, step, args, members)
        finally:
            self.launching.release()

    def _hire(self, size: int) -> int:
        """Let the crew be of this size, or as large as the system allows; return how large."""
        _serve(self.board, 0, 0, 0)  # compiled here, by one thread
        with contextlib.suppress(RuntimeError):  # "can't start new thread"
            for number in range(len(self.crew) + 1, size + 1):
                thread = threading.Thread(
                    target=self._be_member, args=(number,), name=f"minidl-{number}", daemon=True
                )
                thread.start()
                self.crew.append(thread)
        return len(self.crew)

    def _be_member(self, number: int) -> None:
        wake, turn = threading.Lock(), 0
        wake.acquire()
        while not self.closed:
            turn = _serve(self.board, number, turn, PATIENCE)
            self.asleep.append(wake)
            # Who launches, or closes, says so and then looks at `asleep`: one of both sees it.
            if self.closed or self.words[TURN // WORD] != turn:
                with contextlib.suppress(ValueError):  # else someone is about to wake it
                    self.asleep.remove(wake)
                    continue
            wake.acquire()

    def close(self) -> None:
        """Let the members come home, before the process takes down the code that they run."""
        with self.launching:
            self.closed = True
            self.words[CLOSED // WORD] = 1
            while self.asleep:
                self.asleep.pop().release()
            for thread in self.crew:
                thread.join()


_team: _Team | None = None
_starting = threading.Lock()


def together(kernel: int, tasks: int, room: int, step: int, args: int) -> None:
    """Do all tasks on as many threads as are set, the k-th with memory at room + k * step."""
    (_team or _start()).together(kernel, tasks, room, step, args)


def _start() -> _Team:
    global _team
    with _starting:
        if _team is None:
            _team = _Team()
            atexit.register(_team.close)
        return _team


def _forget() -> None:
    """In a forked child: of the threads only the one that forked is there."""
    global _team, _starting
    if _team is not None:
        atexit.unregister(_team.close)
    _team, _starting = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def compile_loops(kernel: int) -> None:
    """Compile what launches run, on one thread and on several; the kernel does nothing."""
    team = _Team()
    alone(kernel, 1, 0, 0, 0)
    _lead(team.board, kernel, 1, 0, 0, 0, 1)
    _serve(team.board, 0, 0, 0)
