"""Who signed: by an SSH key of theirs, or by a log-in of theirs at a provider that the owners file lists."""

from __future__ import annotations

from dataclasses import dataclass

from quantplay.records import Login
from quantplay.signoff import login, ssh
from quantplay.signoff.owners import Owners, Person
from quantplay.signoff.text import Statement


@dataclass(frozen=True, kw_only=True)
class Proof:
    """That a person signed a text."""

    key: str  # fingerprint of their SSH key, or thumbprint of the provider's
    login: Login | None = None  # None: an SSH key


def proof_of(statement: Statement, text: bytes, signature: str, person: Person, owners: Owners) -> Proof | str:
    """A proof, or why there is none: the end of a sentence that begins with `the signature`.

    Raises MissingDependency where ssh-keygen or joserfc is needed and not there.
    """
    if login.is_bundle(signature):
        try:
            found = login.vouched(signature, person, owners, statement, text)
        except login.NotVouched as reason:
            return str(reason)
        return Proof(key=found.key, login=found.login)
    key = ssh.verify(text, signature, person.name, person.keys)
    return Proof(key=key) if key is not None else f"does not verify with a key of {person.name} in {owners.path}"
