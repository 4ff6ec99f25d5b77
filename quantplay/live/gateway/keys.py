"""Who may ask: keys as SHA-256 digests in a file, each with a name and limits of its own."""

from __future__ import annotations

import hashlib
import ipaddress
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import yaml
from pydantic import Field, ValidationError

from quantplay.errors import Fault, InputError
from quantplay.live.gateway.answers import Refused, Scope
from quantplay.live.gateway.asked import header
from quantplay.records.base import Digest, Record


class Key(Record):
    name: str = Field(min_length=1, max_length=100)  # who has it; stands in no answer
    sha256: Digest  # of the key's bytes: printf %s KEY | sha256sum
    concurrent: int | None = Field(default=None, ge=1)
    requests_per_minute: int | None = Field(default=None, ge=1)


class KeyFile(Record):
    keys: tuple[Key, ...]


@dataclass(kw_only=True)
class Client:
    """One that asks, and what it takes up just now."""

    key: Key
    running: int = 0
    allowance: float = field(default=1.0)  # share of a minute's requests that is left
    refilled: float = field(default_factory=time.monotonic)

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """Raises Refused above the key's limits."""
        if self.key.concurrent is not None and self.running >= self.key.concurrent:
            raise too_many(f"this key may have {self.key.concurrent} requests at once")
        if (limit := self.key.requests_per_minute) is not None:
            now = time.monotonic()
            self.allowance = min(1.0, self.allowance + (now - self.refilled) / 60)
            self.refilled = now
            if self.allowance * limit < 1:
                raise too_many(f"this key may send {limit} requests a minute")
            self.allowance -= 1 / limit
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1


def too_many(message: str) -> Refused:
    return Refused(429, "rate_limit_exceeded", message, retry_after=1)


LOOPBACK_ONLY = Key(name="loopback", sha256="0" * 64)


class Keyring:
    """The keys in force. Without a file only this machine is served, and needs no key."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.clients: dict[str, Client] = {}
        self.mark: tuple[int, ...] | None = None
        self.local = Client(key=LOOPBACK_ONLY)
        self.reload()

    def reload(self) -> bool:
        """Read the file if it changed. Raises InputError, and keeps what was in force, where it can't be used."""
        if self.path is None or (mark := mark_of(self.path)) == self.mark:
            return False
        keys = read_keys(self.path)
        self.clients = {key.sha256: self.renewed(key) for key in keys}
        self.mark = mark
        return True

    def renewed(self, key: Key) -> Client:
        known = self.clients.get(key.sha256)
        if known is None:
            return Client(key=key)
        known.key = key
        return known

    def client(self, scope: Scope) -> Client:
        """Raises Refused for a key nobody knows; looked up by digest, so that no comparison's time tells a key."""
        if self.path is None:
            if not is_loopback((scope.get("client") or ("",))[0]):
                raise Refused(403, "loopback_only", "without a key file only this machine is served")
            return self.local
        scheme, _, key = (header(scope, b"authorization") or b"").partition(b" ")
        client = self.clients.get(hashlib.sha256(key.strip()).hexdigest())
        if scheme.lower() != b"bearer" or client is None:
            raise Refused(401, "invalid_api_key", "no such key: send authorization: Bearer KEY")
        return client


@lru_cache(maxsize=1024)
def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def mark_of(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except OSError as error:
        raise unreadable(path, error.strerror or str(error)) from error
    return (found.st_mtime_ns, found.st_size, found.st_ino)


def read_keys(path: Path) -> tuple[Key, ...]:
    try:
        body = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise unreadable(path, error.strerror or "" if isinstance(error, OSError) else "not YAML text") from None
    try:
        keys = KeyFile.model_validate(body).keys
    except ValidationError as error:
        faults = [
            Fault(where=".".join(str(part) for part in each["loc"]) or "the file", what=each["msg"])
            for each in error.errors(include_input=False, include_url=False)
        ]
        raise InputError(f"{path} is not a file of keys", faults=faults, fix="docs/gateway.md shows one") from None
    if len({key.sha256 for key in keys}) < len(keys) or len({key.name for key in keys}) < len(keys):
        raise InputError(f"{path} has a key or a name twice", allowed="each once", fix="take one of them out")
    return keys


def unreadable(path: Path, reason: str) -> InputError:
    return InputError(
        f"the file of keys {path} can't be read", value=reason, fix="correct QUANTPLAY_GATEWAY_KEYS, or unset it to "
        "serve this machine only",
    )  # fmt: skip
