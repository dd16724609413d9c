"""Batches made ahead in one thread that ends with its reader and never leaves it waiting.

Reader and thread share two queues and no lock. The reader puts a permit for each batch that may be
made; the thread puts what it made, or the error that ended it. `SimpleQueue.put` never waits and
may interrupt itself, so closing is safe wherever the garbage collector happens to do it.
"""

import contextlib
import contextvars
import queue
import threading
import weakref
from collections.abc import Iterator
from typing import Any

from minidl import tape
from minidl.device import current_device, device

__all__ = ["Prefetcher"]

_PATIENCE = 1.0  # seconds to wait before asking whether the thread still lives


class _Channel:
    """What reader and thread share. The thread knows this and never the reader."""

    def __init__(self, depth: int) -> None:
        self.permits: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.made: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()
        self.closed = False
        for _ in range(depth):
            self.permits.put(None)


class Prefetcher(Iterator[Any]):
    """Gives the items of `source`, up to `depth` of which one thread makes ahead.

    Items, their order and what ends them are those of `source`: an error raised in it is raised
    here, in its turn and with its traceback. The thread ends with the last item, at an error, at
    `close()`, when this iterator is dropped and when the program ends. An item that is being made
    at that moment is waited for, but no longer than a second.

    Parameters
    ----------
    source : iterator
        Read in the thread alone, under the caller's context, device and recording of gradients.
    depth : int
        1 or more.
    """

    def __init__(self, source: Iterator[Any], depth: int) -> None:
        self._channel = _Channel(depth)
        self._thread = threading.Thread(
            target=contextvars.copy_context().run,
            args=(_work, source, self._channel, current_device(), tape.mode.recording),
            name="minidl-prefetch",
            daemon=True,
        )
        self._end = weakref.finalize(self, _end, self._channel, self._thread)
        self._thread.start()

    def __next__(self) -> Any:
        error: BaseException | None = None
        try:
            item, error = self._take()
            if error is not None:
                raise error
            self._channel.permits.put(None)
            return item
        except BaseException:  # Ctrl-C too: as in a generator, what raised is over
            self.close()
            raise
        finally:
            del error  # it holds this frame in its traceback: a cycle otherwise

    def close(self) -> None:
        """End the thread and let go of what it made; `next` then says that nothing is left."""
        self._end()

    def _take(self) -> tuple[Any, BaseException | None]:
        """Return what the thread made next, without waiting for a thread that is gone."""
        while not self._channel.closed:
            with contextlib.suppress(queue.Empty):
                return self._channel.made.get(timeout=_PATIENCE)
            if not self._thread.is_alive() and self._channel.made.empty():
                raise RuntimeError(
                    "DataLoader: the thread that makes batches ahead is gone; it does not survive "
                    "a fork of the process: begin the epoch after it, or use prefetch=0"
                )
        raise StopIteration


def _work(source: Iterator[Any], channel: _Channel, where: device, recording: bool) -> None:
    """Make an item for each permit, until the channel is closed or `source` ends or fails."""
    try:
        with where, tape.set_recording(recording):
            while True:
                channel.permits.get()
                if channel.closed:
                    return
                channel.made.put((next(source), None))
    except BaseException as error:
        channel.made.put((None, error))


def _end(channel: _Channel, thread: threading.Thread) -> None:
    channel.closed = True
    channel.permits.put(None)  # wakes the thread where it waits for one
    if thread.ident is not None and thread is not threading.current_thread():
        thread.join(_PATIENCE)
    with contextlib.suppress(queue.Empty):
        while True:
            channel.made.get_nowait()
