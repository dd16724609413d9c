"""Mutants that no test can tell from the original, with the reason; reviewed by hand.

Keys are the function, the expression before and after, and which of equal changes in the function
it is: they hold when lines move. tests/gradients/test_mutants.py finds entries that match nothing.
"""

EQUIVALENT: dict[tuple[str, str, str, int], str] = {}
