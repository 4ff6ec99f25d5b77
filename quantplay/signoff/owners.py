"""The owners file: who may sign what, with which key or log-in. Read strictly; every fault at once, with its line.

schema: 1
people:
  - name: grace@example.com
    roles: [product_owner]
    keys:
      - ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI... grace's laptop

Who signs by log-in has `logins` instead of `keys`, or both: providers.py.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from quantplay.digest import digest_of_bytes
from quantplay.errors import Fault, InputError
from quantplay.plan_file import close_to
from quantplay.plan_file.yaml_tree import Place, Tree, dotted, parse
from quantplay.records import Digest, Role
from quantplay.signoff import providers, ssh
from quantplay.signoff.providers import Provider
from quantplay.signoff.text import hidden_characters

ROLES: tuple[Role, ...] = get_args(Role)
LARGEST_BYTES = 1 << 20
LONGEST_NAME = 100
NAME_REFUSED = set(',*?!"\\')  # what allowed_signers gives a meaning to
KEY_TYPES = (
    "ssh-ed25519", "sk-ssh-ed25519@openssh.com", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521",
    "sk-ecdsa-sha2-nistp256@openssh.com", "ssh-rsa",
)  # fmt: skip
KEY_LINE = re.compile(r"(\S+)[ \t]+([A-Za-z0-9+/]+={0,3})(?:[ \t]+.*)?")
LEAST_RSA_BITS = 2048
PRIVATE = re.compile(rb"PRIVATE KEY|openssh-key-v1|b3BlbnNzaC1rZXktdjE")  # the last is the second in base64
FIX = "docs/sign-offs.md shows an owners file"


@dataclass(frozen=True, kw_only=True)
class Person:
    """One who may sign."""

    name: str
    roles: tuple[Role, ...]
    keys: tuple[str, ...]  # `TYPE BASE64`, without comments
    fingerprints: tuple[str, ...]  # of the keys, SHA256:...
    logins: tuple[tuple[str, str], ...] = ()  # (issuer, subject)


@dataclass(frozen=True, kw_only=True)
class Owners:
    """A whole owners file."""

    path: str
    people: tuple[Person, ...]
    text: bytes  # the file, byte for byte
    digest: Digest  # of `text`
    providers: tuple[Provider, ...] = ()  # who may vouch for a log-in

    def person(self, name: str) -> Person | None:
        return next((one for one in self.people if one.name == name), None)

    def holder(self, fingerprint: str) -> Person | None:
        """Whose key this is."""
        return next((one for one in self.people if fingerprint in one.fingerprints), None)

    def logged_in(self, issuer: str, subject: str) -> Person | None:
        """Whose log-in this is."""
        return next((one for one in self.people if (issuer, subject) in one.logins), None)

    def with_role(self, role: Role) -> tuple[Person, ...]:
        return tuple(one for one in self.people if role in one.roles)

    def allowed_signers(self) -> str:
        return ssh.allowed_signers({one.name: one.keys for one in self.people})


def read_owners(path: Path) -> Owners:
    """The owners file at `path`. Raises InputError with every fault, MissingDependency without ssh-keygen."""
    return read_owners_text(file_bytes(path), str(path))


def file_bytes(path: Path) -> bytes:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # reading a pipe could wait for ever
            raise InputError("the owners file is not a plain file", value=path, fix=FIX)
        with path.open("rb") as file:
            return file.read(LARGEST_BYTES + 1)
    except FileNotFoundError:
        raise InputError(
            "there is no owners file, so nobody's signature counts", value=path,
            fix=f"write one there, or name yours in QUANTPLAY_OWNERS; {FIX}",
        ) from None  # fmt: skip
    except OSError as error:
        raise InputError("the owners file can't be read", value=f"{path}: {error.strerror}") from error


def read_owners_text(text: bytes, where: str) -> Owners:
    """The owners in the bytes of a file that is called `where`."""
    faults = list(file_faults(text, where))
    if not faults:
        reading = Reading(where=where, tree=parse(text.decode("utf-8-sig"), where))
        vouching, people = reading.providers_and_people()
        faults = sorted(reading.faults, key=lambda fault: int(fault.where.rpartition(":")[2] or 0))
        if not faults:
            return Owners(
                path=where, people=tuple(people), text=text, digest=digest_of_bytes(text), providers=tuple(vouching)
            )
    count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
    raise InputError(f"{where} is not an owners file that can be used: {count}", faults=faults, fix=FIX)


def file_faults(text: bytes, where: str) -> Iterator[Fault]:
    """What makes it senseless, or with a private key in it dangerous, to look any further."""
    if found := PRIVATE.search(text):
        line = text[: found.start()].count(b"\n") + 1
        yield Fault(
            where=f"{where}:{line}", what="holds a private key",
            allowed="public keys: the one line of the .pub file",
            fix="remove it; whoever could read this file may have the key, so make a new one: ssh-keygen -t ed25519",
        )  # fmt: skip
    elif len(text) > LARGEST_BYTES:
        yield Fault(where=where, what="is too large for an owners file", allowed=f"at most {LARGEST_BYTES} bytes")
    elif not text.strip():
        yield Fault(where=f"{where}:1", what="is empty", allowed="`schema: 1` and `people:`", fix=FIX)
    else:
        try:
            text.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = text[: error.start].count(b"\n") + 1
            yield Fault(where=f"{where}:{line}", what="is not UTF-8", fix="save the file as UTF-8")


@dataclass
class Reading:
    """Collects faults while the parts are read; what is at fault is left out of the answer."""

    where: str
    tree: Tree
    faults: list[Fault] = field(default_factory=list)

    def fault(self, place: Place, what: str, **more: str | None) -> None:
        while place and place not in self.tree.lines:
            place = place[:-1]
        self.faults.append(Fault(where=f"{self.where}:{self.tree.lines.get(place, 1)}", what=what, **more))

    def part(self, value: Any, place: Place, keys: tuple[str, ...], may: tuple[str, ...] = ()) -> dict[str, Any] | None:
        """`value` as a mapping with exactly these keys, and those that it may have."""
        name = dotted(place) if place else "the file"
        if not isinstance(value, dict):
            self.fault(place, f"{name}: should have the keys {', '.join(keys)}", value=str(value))
            return None
        for key in value.keys() - {*keys, *may}:
            near = close_to(key, (*keys, *may))
            self.fault(
                (*place, key), f"unknown key `{dotted((*place, key))}`", allowed=", ".join((*keys, *may)),
                fix=f"did you mean `{near}`?" if near else "remove it",
            )  # fmt: skip
        for key in keys:
            if key not in value:
                self.fault(place, f"`{dotted((*place, key))}` is missing", fix=f"add `{key}:`")
        return value

    def providers_and_people(self) -> tuple[list[Provider], list[Person]]:
        self.faults += self.tree.faults
        if self.tree.value is None and self.tree.faults:
            return [], []
        top = self.part(self.tree.value, (), ("schema", "people"), ("providers",))
        if top is None:
            return [], []
        vouching = providers.listed(self, top["providers"], ("providers",)) if "providers" in top else []
        if "schema" in top and (top["schema"] != 1 or isinstance(top["schema"], bool)):
            self.fault(
                ("schema",), "schema: is a version this quantplay does not read", value=str(top["schema"]), allowed="1"
            )
        listed = self.texts_or_parts(top.get("people"), ("people",), "people") if "people" in top else []
        found = [one for number, value in enumerate(listed) if (one := self.person(value, ("people", number)))]
        self.no_name_twice(found)
        self.no_key_twice(found)
        providers.no_login_twice(self, found)
        providers.no_unknown_provider(self, found, vouching)
        return vouching, [person for person, _ in found]

    def texts_or_parts(self, value: Any, place: Place, what: str) -> list[Any]:
        if isinstance(value, list) and value:
            return value
        found = "an empty list" if isinstance(value, list) else str(value) if value is not None else "nothing"
        self.fault(place, f"{dotted(place)}: should be a list with at least one of the {what}", value=found)
        return []

    def person(self, value: Any, place: Place) -> tuple[Person, Place] | None:
        by_login = isinstance(value, dict) and "logins" in value
        part = self.part(
            value, place, ("name", "roles", *(() if by_login else ("keys",))), ("keys", "logins") if by_login else ("logins",)
        )  # fmt: skip
        if part is None:
            return None
        name = self.name(part.get("name"), (*place, "name")) if "name" in part else ""
        roles = self.roles(part.get("roles"), (*place, "roles")) if "roles" in part else []
        keys = self.keys(part.get("keys"), (*place, "keys")) if "keys" in part else []
        fingerprints = tuple(fingerprint for _, fingerprint in keys)
        logins = providers.logins(self, part["logins"], (*place, "logins")) if by_login else []
        made = Person(
            name=name, roles=tuple(roles), keys=tuple(key for key, _ in keys), fingerprints=fingerprints, logins=tuple(logins)
        )  # fmt: skip
        return made, place

    def name(self, value: Any, place: Place) -> str:
        odd = isinstance(value, str) and (hidden_characters(value) or set(value) & NAME_REFUSED or "\n" in value)
        if not isinstance(value, str) or not value.strip() or value != value.strip() or odd or value.startswith("#"):
            self.fault(
                place, f"{dotted(place)}: can't be a person's name", value=str(value),
                allowed='a name or an e-mail address on one line, without , * ? ! " \\',
            )  # fmt: skip
            return ""
        if len(value) > LONGEST_NAME:
            self.fault(place, f"{dotted(place)}: is too long", allowed=f"at most {LONGEST_NAME} characters")
        return value

    def roles(self, value: Any, place: Place) -> list[Role]:
        found: list[Role] = []
        for number, role in enumerate(self.texts_or_parts(value, place, "roles")):
            here = (*place, number)
            if role not in ROLES:
                near = close_to(str(role), ROLES)
                self.fault(
                    here, f"{dotted(here)}: there is no such role", value=str(role), allowed=", ".join(ROLES),
                    fix=f"did you mean `{near}`?" if near else None,
                )  # fmt: skip
            elif role in found:
                self.fault(here, f"{dotted(here)}: stands twice", value=role, fix="remove one of the two")
            else:
                found.append(role)
        return found

    def keys(self, value: Any, place: Place) -> list[tuple[str, str]]:
        """(`TYPE BASE64`, fingerprint) of every key."""
        found = (
            self.key(line, (*place, number)) for number, line in enumerate(self.texts_or_parts(value, place, "keys"))
        )
        return [key for key in found if key is not None]

    def key(self, value: Any, place: Place) -> tuple[str, str] | None:
        allowed = "one line as in a .pub file: `ssh-ed25519 AAAA... comment`"
        match = KEY_LINE.fullmatch(value.strip()) if isinstance(value, str) else None
        if match is None:
            self.fault(place, f"{dotted(place)}: is not a public key", value=str(value)[:60], allowed=allowed)
            return None
        if match[1] not in KEY_TYPES:
            self.fault(
                place,
                f"{dotted(place)}: this kind of key is not accepted",
                value=match[1],
                allowed=", ".join(KEY_TYPES),
            )
            return None
        line = f"{match[1]} {match[2]}"
        facts = ssh.facts_of_public_key(line)
        if facts is None:
            self.fault(
                place, f"{dotted(place)}: ssh-keygen can't read this key", value=value[:60], allowed=allowed,
                fix="copy the line from the .pub file again",
            )  # fmt: skip
            return None
        if match[1] == "ssh-rsa" and facts.bits < LEAST_RSA_BITS:
            self.fault(
                place, f"{dotted(place)}: is too short", value=f"{facts.bits} bits", allowed=f"{LEAST_RSA_BITS} or more"
            )
        return line, facts.fingerprint

    def no_name_twice(self, found: list[tuple[Person, Place]]) -> None:
        first: dict[str, Place] = {}
        for person, place in found:
            folded = person.name.casefold()
            if person.name and folded in first:
                self.fault(
                    (*place, "name"), f"{dotted(place)}: this name stands twice; the first is in line {self.tree.lines[first[folded]]}",
                    value=person.name, fix="give each person one entry",
                )  # fmt: skip
            first.setdefault(folded, (*place, "name"))

    def no_key_twice(self, found: list[tuple[Person, Place]]) -> None:
        """One key for two people would let one of them sign as both."""
        holders: dict[str, tuple[str, Place]] = {}
        for person, place in found:
            for number, fingerprint in enumerate(person.fingerprints):
                if fingerprint in holders:
                    other, line = holders[fingerprint][0], self.tree.lines.get(holders[fingerprint][1], 1)
                    whose = "this key stands twice" if other == person.name else f"this is also the key of {other}"
                    self.fault(
                        (*place, "keys", number), f"{dotted((*place, 'keys'))}: {whose}; the first is in line {line}",
                        value=fingerprint, fix="every person needs a key of their own",
                    )  # fmt: skip
                holders.setdefault(fingerprint, (person.name, (*place, "keys", number)))
