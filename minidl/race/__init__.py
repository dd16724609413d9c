"""Races: one operation computed in every way there is, first compared, then timed.

    python -m minidl race conv2d --shape 8,64,56,56 --weight 64,64,3,3 --padding 1

    contest.py    what a race is: problem, contenders, who is off, rounds of timing
    machine.py    what this machine can do at most: its peak, and its memory
    entrants.py   the ways that stand for every operation: the rooms of its kernel, CUDA, PyTorch
    operations/   one file a family: the problem, its cost, its contenders; the registry
    report.py picture.py command.py    a table and JSON; a roofline; the shell

To let another algorithm race, add a `Contender` to the list that its operation returns.
"""

from minidl.race.contest import Contender, Disagreement, Problem, Race, Time, race
from minidl.race.machine import Machine, measure

__all__ = ["Contender", "Disagreement", "Machine", "Problem", "Race", "Time", "measure", "race"]
