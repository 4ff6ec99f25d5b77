"""Log-ins in the owners file: which OpenID providers vouch for people, with which keys, and whose log-in is whose.

providers:
  - issuer: https://login.example.com          # exactly as the provider names itself
    client: quantplay                          # our client there
    keys:                                      # RFC 7638 thumbprints; `quantplay web --provider-keys` prints them
      - NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs
people:
  - name: grace@example.com
    roles: [product_owner]
    logins:
      - issuer: https://login.example.com
        subject: "248289761001"                # the `sub` of her tokens; never an e-mail address, which can change hands
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from quantplay.plan_file.yaml_tree import Place, dotted
from quantplay.signoff.text import hidden_characters

if TYPE_CHECKING:
    from quantplay.signoff.owners import Person, Reading

THUMBPRINT = re.compile(r"[A-Za-z0-9_-]{43}")
ISSUER_ALLOWED = "https://HOST or https://HOST/PATH, exactly as the provider names itself"
LONGEST_SUBJECT = 255  # characters, by OpenID Connect


@dataclass(frozen=True, kw_only=True)
class Provider:
    """An OpenID provider whose tokens count."""

    issuer: str
    client: str
    keys: tuple[str, ...]  # thumbprints


def is_issuer(text: str) -> bool:
    """Whether whoever answers there can be trusted to be it: over TLS, or on this machine."""
    try:
        parts = urlsplit(text)
        local = parts.hostname in ("localhost", "127.0.0.1", "::1")
        safe = parts.scheme == "https" or (parts.scheme == "http" and local)
        return safe and bool(parts.hostname) and text.isascii() and text.isprintable() and not set(text) & set("?#@ \\")
    except ValueError:
        return False


def listed(reading: Reading, value: Any, place: Place) -> list[Provider]:
    found: list[Provider] = []
    for number, one in enumerate(reading.texts_or_parts(value, place, "providers")):
        here = (*place, number)
        part = reading.part(one, here, ("issuer", "client", "keys"))
        if part is None:
            continue
        issuer, client = issuer_in(reading, part, here), text_in(reading, part, "client", here)
        keys = reading.texts_or_parts(part["keys"], (*here, "keys"), "keys") if "keys" in part else []
        for position, key in enumerate(keys):
            if not isinstance(key, str) or not THUMBPRINT.fullmatch(key):
                reading.fault(
                    (*here, "keys", position), f"{dotted((*here, 'keys', position))}: is no thumbprint of a key", value=str(key)[:60],
                    allowed="43 letters, digits, - and _", fix="`quantplay web --provider-keys` prints those of your provider",
                )  # fmt: skip
        if issuer and any(other.issuer == issuer for other in found):
            reading.fault(
                (*here, "issuer"), f"{dotted(here)}: this provider stands twice", value=issuer, fix="keep one"
            )
        found.append(Provider(issuer=issuer, client=client, keys=tuple(map(str, keys))))
    return found


def logins(reading: Reading, value: Any, place: Place) -> list[tuple[str, str]]:
    """(issuer, subject) of each."""
    found = []
    for number, one in enumerate(reading.texts_or_parts(value, place, "logins")):
        here = (*place, number)
        part = reading.part(one, here, ("issuer", "subject"))
        if part is not None:
            found.append((issuer_in(reading, part, here), text_in(reading, part, "subject", here)))
    return found


def issuer_in(reading: Reading, part: dict[str, Any], place: Place) -> str:
    if "issuer" not in part:
        return ""
    value = part["issuer"]
    if not isinstance(value, str) or not is_issuer(value):
        here = (*place, "issuer")
        reading.fault(here, f"{dotted(here)}: is no OpenID provider", value=str(value)[:80], allowed=ISSUER_ALLOWED)
        return ""
    return value


def text_in(reading: Reading, part: dict[str, Any], name: str, place: Place) -> str:
    if name not in part:
        return ""
    value, here = part[name], (*place, name)
    if not isinstance(value, str) or not value.strip() or len(value) > LONGEST_SUBJECT or hidden_characters(value):
        reading.fault(
            here, f"{dotted(here)}: is no text on one line", value=str(value)[:80],
            allowed=f"up to {LONGEST_SUBJECT} characters; a number in quotes",
        )  # fmt: skip
        return ""
    return value


def no_login_twice(reading: Reading, found: Iterable[tuple[Person, Place]]) -> None:
    """One log-in for two people would let one of them sign as both."""
    holders: dict[tuple[str, str], tuple[str, Place]] = {}
    for person, place in found:
        for number, login in enumerate(person.logins):
            here = (*place, "logins", number)
            if all(login) and login in holders:
                other, first = holders[login][0], reading.tree.lines.get(holders[login][1], 1)
                whose = "this log-in stands twice" if other == person.name else f"this is also the log-in of {other}"
                reading.fault(
                    here, f"{dotted((*place, 'logins'))}: {whose}; the first is in line {first}", value=" ".join(login),
                    fix="every person needs a log-in of their own",
                )  # fmt: skip
            holders.setdefault(login, (person.name, here))


def no_unknown_provider(
    reading: Reading, found: Iterable[tuple[Person, Place]], providers: Iterable[Provider]
) -> None:  # fmt: skip
    known = {one.issuer for one in providers}
    for person, place in found:
        for number, (issuer, _) in enumerate(person.logins):
            if issuer and issuer not in known:
                here = (*place, "logins", number, "issuer")
                reading.fault(
                    here, f"{dotted(here)}: is not among `providers`", value=issuer, allowed=", ".join(sorted(known - {""})) or "none yet",
                    fix="add it under `providers:`, with our client there and its keys",
                )  # fmt: skip
