"""Signatures that come through a form: the texts prepared for it, and the signature as a browser hands it over."""

from __future__ import annotations

import re
from collections.abc import Iterable

from quantplay.errors import InputError
from quantplay.signoff.ssh import ARMOR, LARGEST_SIGNATURE, NAMESPACE
from quantplay.signoff.text import Statement

LINE = 70  # characters, as ssh-keygen wraps
MAGIC = "U1NIU0lH"  # `SSHSIG` in base64: what every SSH signature begins with, and no key does
PASTED = r"^\s*(-----BEGIN SSH SIGNATURE-----\s*U1NIU0lH[A-Za-z0-9+/=\s]*-----END SSH SIGNATURE-----\s*)?$"
"""What a form accepts: nothing, or one armored signature with line breaks or blanks in it. A private key does not fit."""
REFUSED_KEY = "a private key was pasted: it is not kept, but whoever saw it may use it, so make a new one"


def label_of(statement: Statement) -> str:
    """How a form names a prepared text; one text a label."""
    return f"{statement.verdict} as {statement.role} by {statement.person}"


def rewrapped(pasted: str) -> str:
    """The armored signature in what was pasted: a one-line input turns line feeds into blanks.

    Raises InputError for anything else; what was pasted is never part of the message.
    """
    allowed = "what ssh-keygen printed, from -----BEGIN SSH SIGNATURE----- to -----END SSH SIGNATURE-----"
    if "PRIVATE KEY" in pasted or "b3BlbnNzaC1rZXktdjE" in "".join(pasted.split()):
        raise InputError(
            REFUSED_KEY, allowed=allowed, fix="ssh-keygen -t ed25519, and the new .pub line in the owners file"
        )
    if len(pasted) > LARGEST_SIGNATURE:
        raise InputError("this is too long for a signature", value=f"{len(pasted)} characters", allowed=allowed)
    if not pasted.strip() or not re.fullmatch(PASTED, pasted, re.ASCII):
        raise InputError("this is not an SSH signature", allowed=allowed, fix="paste all of it, both dashed lines too")
    body = "".join(pasted.strip().removeprefix(ARMOR[0].strip()).removesuffix(ARMOR[1].strip()).split())
    return "\n".join([ARMOR[0].strip(), *wrapped(body), ARMOR[1]])


def wrapped(body: str) -> Iterable[str]:
    return (body[start : start + LINE] for start in range(0, len(body), LINE))


def shell_command(text: bytes, key: str = "~/.ssh/id_ed25519") -> str:
    """What somebody with nothing but OpenSSH types to sign `text`; it prints the signature."""
    return f"ssh-keygen -Y sign -n {NAMESPACE} -f {key} <<'END'\n{text.decode()}END"
