"""What an address asks for, read strictly: whatever is wrong is told, and nothing of it reaches the database."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from quantplay.errors import InputError
from quantplay.formats import FORMATS
from quantplay.plays.unvalidated import UNVALIDATED
from quantplay.store.catalogue import Wanted

STATES = ("confirmed", "stale", "regressed", UNVALIDATED)
RUNTIMES = tuple(dict.fromkeys(runtime for one in FORMATS.values() for runtime in one.runtimes))
LONGEST = 200
KEY = re.compile(r"[0-9a-f]{64}")
TEXTS = ("text", "base", "runtime", "type", "owner", "hardware", "use_case", "name")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A list that somebody looks for."""

    given: Mapping[str, str]  # what the form says; nothing that is empty
    state: str | None
    wanted: Wanted

    def address(self, **changed: str) -> str:
        """Of the same list with other words; an empty one is left out."""
        told = {name: value for name, value in {**self.given, **changed}.items() if value}
        return f"/?{urlencode(told)}" if told else "/"


def asked(query: Mapping[str, str]) -> Asked:
    """Raises InputError for what can't be looked for; a word that means nothing here is passed over."""
    given: dict[str, str] = {}
    for name in (*TEXTS, "state", "bits", "after"):
        value = query.get(name, "").strip()
        if len(value) > LONGEST or not value.isprintable():
            raise InputError(
                f"`{name}` can't be looked for", value=value[:40], allowed=f"up to {LONGEST} visible characters"
            )
        if value:
            given[name] = value
    if (state := given.get("state")) not in (None, *STATES):
        raise InputError("there is no such state", value=state, allowed=", ".join(STATES))
    wanted: dict[str, Any] = {name: given[name] for name in TEXTS if name in given}
    if "bits" in given:
        if not re.fullmatch(r"[0-9]{1,2}", given["bits"], re.ASCII):
            raise InputError("`bits` is no number of bits", value=given["bits"], allowed="a whole number, such as 4")
        wanted["bits"] = int(given["bits"])
    if "after" in given:
        if not KEY.fullmatch(given["after"]):
            raise InputError("`after` is no key of a package", value=given["after"], fix="begin at the first page")
        wanted["after"] = given["after"]
    return Asked(given=given, state=state, wanted=Wanted(**wanted))
