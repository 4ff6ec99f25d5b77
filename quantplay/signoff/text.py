"""The text a person signs: plain lines that can be read aloud, and that have exactly one way to be written.

Two texts that say the same are the same bytes, so a signature can't be carried over to a text that only looks like it. What makes a
text usable once is in the text itself (nonce, times), because Ed25519 signatures are deterministic.
"""

from __future__ import annotations

import json
import re
import secrets
import unicodedata
from datetime import UTC, datetime, timedelta
from typing import Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from quantplay.errors import InputError
from quantplay.records import Decision, Digest, Record, Role

Stage = Literal["gate", "training", "lock"]
SignVerdict = Literal["approve", "reject", "rework"]

HEADING = "quantplay sign-off 1"
VALID = timedelta(days=7)  # long enough for a text that travels to somebody elsewhere
LONGEST_VALID = timedelta(days=30)  # of a text that waits in a form as long as the request stands
TIME = "%Y-%m-%dT%H:%M:%SZ"
LARGEST_BYTES = 16 << 10
LONGEST_COMMENT = 2000
LABELS = {
    "run": "run", "stage": "stage", "role": "role", "verdict": "verdict", "person": "person", "gate": "gate",
    "decision": "decision", "manifest": "manifest", "business_case": "business case", "gate_changes": "gate changes", "comment": "comment",
    "nonce": "nonce", "issued_at": "issued", "expires_at": "expires",
}  # fmt: skip
"""Field -> its label in the text, in the order of the lines; the business case has a line at stage training only."""


class Statement(Record):
    """What one signature says."""

    later = frozenset({"business_case"})

    run: str = Field(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
    stage: Stage
    role: Role
    verdict: SignVerdict
    person: str = Field(min_length=1, max_length=100)  # as the owners file names them
    gate: Digest
    decision: Digest
    manifest: Digest | None = None  # of the package's manifest.json; stage lock only
    business_case: Digest | None = None  # of the plan's business case; stage training only
    gate_changes: int = Field(ge=0)  # tolerances that are laxer than at an earlier look; the decision lists them
    comment: str = Field(default="", max_length=LONGEST_COMMENT)
    nonce: str = Field(pattern=r"^[0-9a-f]{32}$")
    issued_at: str  # UTC to the second, 2026-11-21T03:00:00Z
    expires_at: str

    @field_validator("issued_at", "expires_at")
    @classmethod
    def _is_a_time(cls, value: str) -> str:
        if moment(value).strftime(TIME) != value:
            raise ValueError("is not written as 2026-11-21T03:00:00Z")
        return value

    @field_validator("person", "comment")
    @classmethod
    def _is_readable(cls, value: str) -> str:
        if hidden := hidden_characters(value):
            raise ValueError(f"holds characters that can't be seen: {hidden}")
        return value

    @model_validator(mode="after")
    def _each_stage_has_its_subject(self) -> Self:
        if (self.manifest is None) == (self.stage == "lock"):
            raise ValueError("a manifest is signed at stage lock, and only there")
        if (self.business_case is None) == (self.stage == "training"):
            raise ValueError("a business case is signed at stage training, and only there")
        return self


def new_statement(
    *, run: str, stage: Stage, role: Role, verdict: SignVerdict, person: str, gate: Digest, decision: Digest,
    manifest: Digest | None, gate_changes: int, business_case: Digest | None = None, comment: str = "",
    now: datetime | None = None, valid: timedelta = VALID,
) -> Statement:  # fmt: skip
    """A statement that is valid from now on for `valid`, with a fresh nonce."""
    issued = now or datetime.now(UTC)
    try:
        return Statement(
            run=run, stage=stage, role=role, verdict=verdict, person=person, gate=gate, decision=decision,
            manifest=manifest, business_case=business_case, gate_changes=gate_changes, comment=comment,
            nonce=secrets.token_hex(16), issued_at=issued.strftime(TIME), expires_at=(issued + valid).strftime(TIME),
        )  # fmt: skip
    except ValidationError as error:
        raise InputError("this can't be signed", value=first_reason(error), allowed=COMMENT_ALLOWED) from error


COMMENT_ALLOWED = f"a comment of at most {LONGEST_COMMENT} characters, none of which is invisible"


def render(statement: Statement) -> bytes:
    """The text to sign, UTF-8."""
    labels = labels_of(statement.stage)
    lines = [HEADING, *(f"{label}: {written(getattr(statement, name), name)}" for name, label in labels.items())]
    return ("\n".join(lines) + "\n").encode()


def parse(text: bytes) -> Statement:
    """The statement in a text. Raises InputError for anything that `render` would not have written."""
    if len(text) > LARGEST_BYTES:
        raise unreadable(f"{len(text)} bytes", f"at most {LARGEST_BYTES} bytes")
    try:
        lines = text.decode().split("\n")
    except UnicodeDecodeError as error:
        raise unreadable(f"byte {text[error.start]:#04x}", "UTF-8") from error
    if lines[0] != HEADING:
        raise unreadable(lines[0], f"{HEADING} as the first line")
    labels = labels_of("training" if "stage: training" in lines[2:3] else "gate")
    fields: dict[str, object] = {}
    for line, (name, label) in zip(lines[1:], labels.items(), strict=False):
        found, separator, value = line.partition(": ")
        if found != label or not separator:
            raise unreadable(line, f"`{label}: ...` as line {len(fields) + 2}")
        fields[name] = read(value, name)
    if len(lines) != len(labels) + 2 or lines[-1] != "":
        raise unreadable(f"{len(lines)} lines", f"{len(labels) + 1} lines, each ended by a line feed")
    try:
        statement = Statement.model_validate(fields)
    except ValidationError as error:
        raise unreadable(first_reason(error), "what `quantplay sign --request` wrote") from error
    if render(statement) != text:
        raise unreadable("the same words, written in another way", "exactly the bytes that quantplay wrote")
    return statement


def labels_of(stage: Stage) -> dict[str, str]:
    """The lines of a text at this stage."""
    return {name: label for name, label in LABELS.items() if name != "business_case" or stage == "training"}


def written(value: object, name: str) -> str:
    if name == "comment":
        return json.dumps(value, ensure_ascii=False)
    return "none" if value is None else str(value)


def read(value: str, name: str) -> object:
    if name == "comment":
        try:
            return json.loads(value)
        except (ValueError, RecursionError) as error:
            raise unreadable(value, "the comment as one JSON string") from error
    if name == "gate_changes":
        if not re.fullmatch(r"[0-9]{1,6}", value, re.ASCII):
            raise unreadable(value, "gate changes as a number")
        return int(value)
    return None if name == "manifest" and value == "none" else value


def unreadable(value: str, allowed: str) -> InputError:
    return InputError(
        "this is not the text of a sign-off", value=value, allowed=allowed,
        fix="use the file as `quantplay sign RUN --role ROLE --approve --request FILE` wrote it, unchanged",
    )  # fmt: skip


def hidden_characters(text: str) -> str:
    """Controls and direction marks in `text`, as escapes: they make it look other than it is. Line feeds are not among them."""
    odd = {one for one in text if one != "\n" and unicodedata.category(one) in {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}}
    return " ".join(sorted(f"U+{ord(one):04X}" for one in odd))


def moment(text: str) -> datetime:
    """A time of a statement. Raises ValueError."""
    return datetime.strptime(text, TIME).replace(tzinfo=UTC)


def first_reason(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or 'the text'}: {first['msg'].removeprefix('Value error, ')}"


def changes_of(decision: Decision) -> int:
    """What `gate changes` in a text says for this decision."""
    return len(decision.gate_changes)


PACKAGE_STAGES: tuple[Stage, ...] = ("gate", "lock")
"""Whose approvals a package carries."""
