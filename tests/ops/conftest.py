"""Makes `cases`, `oracle` and the stand-in for CuPy importable by the tests of this folder."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
