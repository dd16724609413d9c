"""The bugs, by topic. Importing this package enters them all into `exercise.exercises`.

Each is the function, a wrong derivative of it, the right one, hints, and a solution with the
mathematics; `exercise.py` says what the words mean. They are written as a reader would write them:
plain NumPy, no annotations.
"""

from minidl.testing.buglab.bugs import (
    broadcasting,
    elementwise,
    images,
    indexing,
    kinks,
    losses,
    matrices,
    memory,
    normalization,
    recurrence,
    reductions,
)

__all__ = [
    "broadcasting",
    "elementwise",
    "images",
    "indexing",
    "kinks",
    "losses",
    "matrices",
    "memory",
    "normalization",
    "recurrence",
    "reductions",
]
