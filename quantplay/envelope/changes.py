"""What of hardware and software is not what it was: two fingerprints against each other, in words. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from quantplay.records import Fingerprint, StackChange

NONE = "none"
SHOWN = 12  # characters of a digest


def stack_changes(before: Fingerprint, now: Fingerprint) -> tuple[StackChange, ...]:
    """Everything that differs; empty exactly where the two are equal."""
    return tuple(
        StackChange(what=what, before=old, now=new) for what, old, new in facts(before, now) if old != new
    ) or unnamed(before, now)


def facts(before: Fingerprint, now: Fingerprint) -> Iterator[tuple[str, str, str]]:
    """(what, before, now) of everything a fingerprint holds."""
    old, new = before.software, now.software
    for name in sorted(old.packages | new.packages):
        yield name, old.packages.get(name, NONE), new.packages.get(name, NONE)
    yield "llama.cpp", old.runtime, new.runtime
    if old.build is not None and new.build is not None:  # a fingerprint of an earlier version knows no build
        yield "build of llama.cpp's libraries", old.build[:SHOWN], new.build[:SHOWN]
    yield "kernel and C library", old.system, new.system
    yield "Python", old.python, new.python
    a, b = before.hardware, now.hardware
    yield "processor", a.cpu, b.cpu
    yield "instruction sets of the processor", a.cpu_features[:SHOWN], b.cpu_features[:SHOWN]
    yield "processor cores", str(a.cores), str(b.cores)
    yield "memory", f"{a.memory_bytes:,} bytes", f"{b.memory_bytes:,} bytes"
    yield "accelerators and their driver", "; ".join(a.accelerators) or NONE, "; ".join(b.accelerators) or NONE
    yield "threads", str(before.threads), str(now.threads)


def unnamed(before: Fingerprint, now: Fingerprint) -> tuple[StackChange, ...]:
    """Fingerprints that differ in a way no line above shows: only what an earlier version did not record yet."""
    if before == now:
        return ()
    return (
        StackChange(what="what is recorded of the stack", before=before.digest()[:SHOWN], now=now.digest()[:SHOWN]),
    )


def changes_sentence(changes: tuple[StackChange, ...]) -> str:
    """All changes in a sentence; a text that holds the other one is not written twice."""
    return "; ".join(f"{one.what}: {one.before} → {one.now}" for one in changes)
