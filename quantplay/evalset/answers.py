"""Reading an answer the same way in the file that expects it and in the response that is scored."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from quantplay.evalset.jsonl import RefusedError, parse

NUMBER = re.compile(r"(?:(?<![\w.])[-+])?(?:[0-9][0-9,]*(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]{1,4})?")
"""A number as people write it: sign, commas between thousands, decimals, exponent. The minus of `7-2` is no sign."""


def last_number(text: str) -> Decimal | None:
    """The last number in `text`, exactly; None when there is none."""
    found = NUMBER.findall(text)
    return Decimal(found[-1].replace(",", "")) if found else None


def json_value(text: str) -> Any:
    """The JSON value that `text` is, nothing around it but space. Raises RefusedError when it is none."""
    try:
        return parse(text.encode("utf-8"))
    except RefusedError:
        raise
    except (ValueError, RecursionError) as error:
        raise RefusedError(str(error)) from error
