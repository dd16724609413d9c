"""Whether strategies draw what they promise, and nothing else: for the tests of this folder."""

import contextlib

from hypothesis import HealthCheck, Phase, given, settings


def draw(strategy, look, count):
    """Call `look` with so many drawn cases, always the same ones; nothing is shrunk."""
    settings(
        max_examples=count, database=None, derandomize=True, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )(given(strategy)(look))()  # fmt: skip


def missing(strategy, **predicates):
    """Draw until each predicate was met once; name those that thousands of cases do not meet."""
    left = dict(predicates)

    def look(drawn):
        for name, predicate in list(left.items()):
            if predicate(drawn):
                del left[name]
        if not left:
            raise StopIteration

    with contextlib.suppress(StopIteration):
        draw(strategy, look, 3000)
    return list(left)


def never(strategy, *predicates):
    """Whether none of 150 cases meets a predicate."""
    met = []
    draw(strategy, lambda drawn: met.extend([p for p in predicates if p(drawn)]), 150)
    return not met
