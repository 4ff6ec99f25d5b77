"""The probe on this machine: real kernels, rates that hang together."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from quantplay.engines.ggml_rates import Kernels
from quantplay.envelope.probe import last_cache, probe
from quantplay.errors import InputError
from quantplay.records import Machine


def test_a_probe_is_short_and_its_rates_hang_together() -> None:
    started = time.process_time()
    machine = probe(("Q8_0", "Q4_K", "IQ4_XS"), (4,), hidden=512, head_dim=64, threads=1, clock=time.process_time)
    assert time.process_time() - started < 10  # two seconds on a machine of one's own
    assert machine.kernels.keys() == {"F32", "Q8_0", "Q4_K", "IQ4_XS"}
    for rate in machine.kernels.values():
        assert rate.cached_ps.keys() == {"1", "4", "64"}
        assert 0 < rate.cached_ps["1"] < rate.cached_ps["64"]
    assert 0.5 < machine.bandwidth_gb_s < 5000
    assert machine.kernels["F32"].streamed_ps["1"] > machine.kernels["Q4_K"].streamed_ps["1"] / 2
    assert machine.attention_ps["1"] > 0
    assert Machine.model_validate(machine.body()) == machine


def test_full_precision_is_never_laid_out_anew() -> None:
    with Kernels(1) as kernels:
        assert not kernels.is_repacked("F32")
        with pytest.raises(InputError, match="stores no weights"):
            kernels.seconds("Q9_K", 1 << 20, (1,))


def test_the_last_cache_is_what_the_system_says(tmp_path: Path) -> None:
    for name, size in (("index0", "32K"), ("index2", "1024K"), ("index3", "16M")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "size").write_text(f"{size}\n")
    assert last_cache(tmp_path) == 16 << 20
    assert last_cache(tmp_path / "none") == 32 << 20
