"""The gate of play 4: `decide` turns what was measured into a decision. Pure.

decide.py     the whole: drops, rule, envelope, alarms, reasons, next play
rule.py       the decision rule on numbers alone
pairing.py    do the records belong together; items of the arms side by side
envelope.py   size, memory, speed and the win the plan was after
erosion.py    where the gate is laxer than an earlier look's
target.py     is the chip that was measured the one that will serve
alarms.py     divergence, flips, another machine: a look, never a verdict
sentences.py  the same in words
validity.py   how often the rule is wrong, by simulation
"""

from quantplay.gate.decide import decide
from quantplay.gate.rule import Judged, Quantity, judge, overall
from quantplay.stats import ALPHA, PowerReport, PowerRow, power_report

__all__ = [
    "ALPHA",
    "Judged",
    "PowerReport",
    "PowerRow",
    "Quantity",
    "decide",
    "judge",
    "overall",
    "power_report",
]
