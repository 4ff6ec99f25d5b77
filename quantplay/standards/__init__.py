"""The organisation's rules for plans, once for everybody, and what departs from them.

file.py      the rules as a validated file            compare.py   a plan, or a locked model, against them
"""

from quantplay.standards.compare import HARDEST, SPEAKS_FOR, Facts, compare, use_case_of
from quantplay.standards.file import DEFAULT, Standards, load_standards, read_standards

__all__ = [
    "DEFAULT",
    "HARDEST",
    "SPEAKS_FOR",
    "Facts",
    "Standards",
    "compare",
    "load_standards",
    "read_standards",
    "use_case_of",
]
