"""Record what PyTorch says of every case, for machines without it: python tests/nn/record.py."""

import json
from pathlib import Path
from typing import Any

from nn_cases import CASES, Theirs, evaluate

RECORD = Path(__file__).parents[1] / "oracle" / "nn_state.json"


def rounded(values: dict[str, Any]) -> dict[str, Any]:
    """Each array as its shape and its numbers, to 12 digits."""
    return {
        name: [list(v.shape), [float(f"{x:.12g}") for x in v.ravel().tolist()]]
        for name, v in values.items()
    }


def record() -> None:
    found = {}
    for name, case in CASES.items():
        result = evaluate(case, Theirs)
        found[name] = {"state": result["state"], "values": rounded(result["values"])}
    RECORD.parent.mkdir(exist_ok=True)
    lines = [f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in found.items()]
    RECORD.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(f"{RECORD}: {len(found)} cases, {RECORD.stat().st_size} bytes")


if __name__ == "__main__":
    record()
