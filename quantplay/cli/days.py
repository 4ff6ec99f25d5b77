"""A day as an option of the command line."""

from __future__ import annotations

from datetime import date

from quantplay.errors import InputError


def read_day(text: str, option: str, example: str) -> date:
    """Raises InputError, with `example`, for what is no ISO 8601 date."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InputError(f"{option} is no date", value=text, allowed=f"a date such as {example}") from None
