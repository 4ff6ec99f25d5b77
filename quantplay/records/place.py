"""Where a number was measured."""

from __future__ import annotations

from quantplay.records.base import Digest, Record


class Hardware(Record):
    cpu: str  # model name as the system gives it
    cpu_features: Digest  # digest of the sorted instruction-set flags
    cores: int  # usable by this process
    memory_bytes: int
    accelerators: tuple[str, ...] = ()


class Software(Record):
    later = frozenset({"build"})

    system: str  # kernel and C library
    python: str
    packages: dict[str, str]  # name -> version of every package that can change a number
    runtime: str  # llama.cpp's own description of build and enabled instruction sets
    build: Digest | None = None  # of its shared libraries, every byte: two builds of one version differ here


class Fingerprint(Record):
    """What a number was measured on: equal digests mean comparable numbers."""

    hardware: Hardware
    software: Software
    threads: int
