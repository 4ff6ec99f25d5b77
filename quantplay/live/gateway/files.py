"""Policies in a file, counts in a file: for one machine, for tests, and the last snapshot for the time without a database."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from quantplay.engines.whole_file import written_whole
from quantplay.errors import Fault, InputError, ServiceUnavailable
from quantplay.records.base import Record
from quantplay.records.traffic import CounterRow, RequestRow, TrafficPolicy

CONFIRM_SECONDS = 20.0


class PolicyFile(Record):
    policies: tuple[TrafficPolicy, ...]
    confirmed: float | None = None  # Unix time of the last confirmed read; only in a snapshot


def read_policies(path: Path) -> PolicyFile:
    """Raises ServiceUnavailable where there is no file, InputError where it holds something else."""
    try:
        body = path.read_bytes()
    except OSError as error:
        raise ServiceUnavailable(f"no policies in {path}", value=error.strerror) from None
    try:
        found = PolicyFile.model_validate_json(body)
    except ValidationError as error:
        faults = [
            Fault(where=".".join(str(part) for part in each["loc"]) or "the file", what=each["msg"])
            for each in error.errors(include_input=False, include_url=False)
        ]
        raise InputError(f"{path} is not a file of policies", faults=faults, fix="docs/gateway.md shows one") from None
    names = [policy.endpoint for policy in found.policies]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"{path} has an endpoint twice", value=", ".join(twice), allowed="each once")
    return found


def write_policies(path: Path, policies: Iterable[TrafficPolicy], confirmed: float | None = None) -> None:
    """Whole or not at all, and on the disk when this returns."""
    found = PolicyFile(policies=tuple(policies), confirmed=confirmed)
    with written_whole(path) as partial:
        partial.write_text(found.model_dump_json(), encoding="utf-8")


@dataclass(frozen=True, kw_only=True)
class PolicyFileSource:
    """A file that somebody else replaces by renaming a new one over it."""

    path: Path
    seconds: float = 0.2  # between two looks; one look costs a stat

    async def policies(self) -> AsyncIterator[tuple[TrafficPolicy, ...]]:
        mark, confirmed = None, 0.0
        while True:
            try:
                found = self.path.stat()
            except OSError as error:
                raise ServiceUnavailable(f"no policies in {self.path}", value=error.strerror) from None
            now = time.monotonic()
            if (new := (found.st_mtime_ns, found.st_size, found.st_ino)) != mark or now - confirmed > CONFIRM_SECONDS:
                yield read_policies(self.path).policies
                mark, confirmed = new, now
            await asyncio.sleep(self.seconds)


@dataclass(frozen=True, kw_only=True)
class FileSink:
    """Two files of JSON lines. A counter's last line counts, so writing it again changes nothing."""

    folder: Path

    async def write(self, rows: Sequence[CounterRow], requests: Sequence[RequestRow]) -> None:
        await asyncio.to_thread(self.append, rows, requests)

    def append(self, rows: Sequence[CounterRow], requests: Sequence[RequestRow]) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for name, records in (("counters.jsonl", rows), ("requests.jsonl", requests)):
                if records:
                    with (self.folder / name).open("a", encoding="utf-8") as file:
                        file.write("".join(record.model_dump_json() + "\n" for record in records))
        except OSError as error:
            raise ServiceUnavailable(f"can't write to {self.folder}", value=error.strerror) from None

    def totals(self) -> dict[tuple[str, int, str, str], int]:
        """(endpoint, revision, assigned arm, name) -> count, over all gateways and minutes."""
        last: dict[tuple[str, str, int, int, str, str], int] = {}
        path = self.folder / "counters.jsonl"
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
            row = CounterRow.model_validate_json(line)
            key = (row.source, row.endpoint, row.revision, row.minute, row.arm, row.name)
            last[key] = max(row.value, last.get(key, 0))
        sums: dict[tuple[str, int, str, str], int] = {}
        for (_, endpoint, revision, _, arm, name), value in last.items():
            sums[endpoint, revision, arm, name] = sums.get((endpoint, revision, arm, name), 0) + value
        return sums

    def requests(self) -> list[RequestRow]:
        """Every request once, also where its line was written again."""
        path = self.folder / "requests.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else ()
        return [RequestRow.model_validate(json.loads(line)) for line in dict.fromkeys(lines)]


class NoSink:
    """Where nobody keeps them: the counts are in /metrics alone."""

    async def write(self, rows: Sequence[CounterRow], requests: Sequence[RequestRow]) -> None:
        return
