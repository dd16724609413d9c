"""What was measured of every operation, as it ships: an example's ops, memory and cost; errors.

Recorded by tests/ops/card_record.py, which says how; a test holds all but the errors against the
code, and the errors as bounds.
"""

import functools
import json
from pathlib import Path
from typing import Any

RECORD = Path(__file__).with_name("measured.json")


@functools.cache
def measured() -> dict[str, dict[str, Any]]:
    """By operation: example, ops, saved, flops, bytes, differences, pytorch."""
    found: dict[str, dict[str, Any]] = json.loads(RECORD.read_text(encoding="utf-8"))
    return found
