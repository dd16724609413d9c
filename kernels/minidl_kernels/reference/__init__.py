"""The definition of every kernel: plain loops, slow and readable, the oracle of every test."""
