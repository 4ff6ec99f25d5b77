from __future__ import annotations

from pathlib import Path

import pytest

from quantplay.envelope.hardware import measure_fingerprint, read_accelerators, read_cpu, read_memory
from quantplay.records import Fingerprint


def test_the_same_machine_gives_the_same_fingerprint() -> None:
    first = measure_fingerprint(2)
    assert first.digest() == measure_fingerprint(2).digest()
    assert first.digest() != measure_fingerprint(1).digest()
    assert Fingerprint.model_validate(first.body()) == first
    assert first.hardware.cores >= 1
    assert first.hardware.memory_bytes > 2**27
    assert first.hardware.cpu
    assert {"torch", "transformers", "llama-cpp-python", "lm-eval", "numpy"} <= first.software.packages.keys()
    assert first.software.runtime


def test_cpuinfo_is_read_once_and_flags_are_sorted(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("model name\t: Fast CPU @ 3 GHz\nflags\t\t: sse2 avx\n\nmodel name\t: Other\nflags\t\t: fma\n")
    assert read_cpu(info) == ("Fast CPU @ 3 GHz", ["avx", "sse2"])
    info.write_text("Processor\t: An ARM\nFeatures\t: fp asimd\n")
    assert read_cpu(info) == ("An ARM", ["asimd", "fp"])
    model, flags = read_cpu(tmp_path / "missing")
    assert model
    assert flags == []


def test_a_containers_limit_counts(tmp_path: Path) -> None:
    whole = read_memory(())
    limit = tmp_path / "memory.max"
    limit.write_text("1048576\n")
    assert read_memory((limit, tmp_path / "missing")) == 1048576
    limit.write_text("max\n")
    assert read_memory((limit,)) == whole


def test_accelerators_are_what_the_tool_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert read_accelerators() == ()
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'A100, 81920 MiB, 550.54'\necho 'A100, 81920 MiB, 550.54'\n")
    tool.chmod(0o755)
    assert read_accelerators() == ("A100, 81920 MiB, 550.54",) * 2
    tool.write_text("#!/bin/sh\necho 'no devices were found'\nexit 6\n")
    assert read_accelerators() == ()
