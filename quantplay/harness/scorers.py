"""How a response is compared with the expected answer. To add a scorer: a function here, a line in SCORERS, a name in
`evalset.SCORER_NAMES`, a row in docs/evaluation-sets.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from quantplay.evalset import EvalItem
from quantplay.evalset.answers import json_value, last_number
from quantplay.evalset.jsonl import RefusedError


def exact(response: str, item: EvalItem) -> float:
    """1 when the response is the answer, but for space around it."""
    return float(response.strip() == item.answer.strip())


def json_equal(response: str, item: EvalItem) -> float:
    """1 when the whole response is JSON of the same value: key order and spacing are free, types are not."""
    try:
        return float(same_json(json_value(response), json_value(item.answer)))
    except RefusedError:
        return 0.0


def same_json(a: Any, b: Any) -> bool:
    """Equality without Python's True == 1; the integer 1 and the number 1.0 are the same JSON number."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same_json(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same_json, a, b))
    return isinstance(a, bool) == isinstance(b, bool) and a == b


def number(response: str, item: EvalItem) -> float:
    """1 when the last number of the response is the last number of the answer, compared exactly as decimals."""
    found = last_number(response)
    return float(found is not None and found == last_number(item.answer))


def contains(response: str, item: EvalItem) -> float:
    """1 when the answer stands in the response as whole words; case and the amount of space do not matter."""
    said, wanted = (" ".join(text.casefold().split()) for text in (response, item.answer))
    left = r"(?<!\w)" if wanted[:1].isalnum() else ""
    right = r"(?!\w)" if wanted[-1:].isalnum() else ""
    return float(re.search(left + re.escape(wanted) + right, said) is not None)


def choice(response: str, item: EvalItem) -> float:
    """1 when the choice that the model finds likeliest is the answer; `response` is that choice."""
    return float(response == item.answer)


SCORERS: dict[str, Callable[[str, EvalItem], float]] = {
    "exact": exact,
    "json": json_equal,
    "number": number,
    "contains": contains,
    "choice": choice,
}
