"""Makes `drawn_cases`, `tiny_engine` and the stand-in for CuPy importable by the tests here."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
