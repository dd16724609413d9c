"""The bug lab: classic wrong derivatives, as exercises and as a test of our own checks.

    python -m minidl.testing.buglab                 the list
    python -m minidl.testing.buglab start bias      writes bias.py, to be mended
    python -m minidl.testing.buglab try bias.py     says whether it is

Each wrong derivative is one that somebody wrote in earnest. The tests plant every one of them and
require that `minidl.testing` finds it and names a cause that fits.

>>> from minidl.testing import buglab
>>> bias = buglab.library()["bias"]
>>> bias.examine(bias.right).name
'bias'
"""

from minidl.testing.buglab.answers import read, start
from minidl.testing.buglab.exercise import AnswerError, Exercise, exercises, library

__all__ = ["AnswerError", "Exercise", "exercises", "library", "read", "start"]
