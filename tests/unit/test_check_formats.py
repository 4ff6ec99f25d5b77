"""Plans for the formats of GPU servers: faults are told before anything heavy runs."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
from plan_samples import edited, write_sample

from quantplay.errors import Fault
from quantplay.plan_file import load_plan
from quantplay.plays.check import check_plan
from quantplay.plays.check_envelope import cache_faults
from quantplay.quantizers import folder_recipe


def faults_of(folder: Path, runtime: str, types: str, *, here: bool = True) -> list[Fault]:
    text = edited("runtime: llama.cpp", f"runtime: {runtime}", edited("[Q4_K_M, Q5_K_M]", types))
    return [
        fault for fault in check_plan(write_sample(folder, text), measured_here=here).faults if "envelope" in fault.what
    ]


def test_a_type_for_transformers_is_a_good_plan(tmp_path: Path) -> None:
    assert faults_of(tmp_path, "transformers", "[W8A8, BNB_INT8]") == []


def test_a_gguf_type_for_the_server_is_a_good_plan(tmp_path: Path) -> None:
    assert faults_of(tmp_path, "llama.cpp-server", "[Q4_K_M]") == []


@pytest.mark.skipif(find_spec("vllm") is not None, reason="vLLM is installed: nothing is missing")
def test_a_server_that_is_not_installed_is_one_fault_with_its_command(tmp_path: Path) -> None:
    for name in ("here", "elsewhere"):
        (tmp_path / name).mkdir()
    (fault,) = [one for one in faults_of(tmp_path / "here", "vllm", "[W4A16]") if "installed" in one.what]
    assert "vllm can't serve a model here: vllm is not installed" in fault.what
    assert "pip install vllm" in (fault.fix or "")
    assert "quantplay plan" in (fault.fix or "")
    away = faults_of(tmp_path / "elsewhere", "vllm", "[W4A16]", here=False)
    assert not any("installed" in one.what for one in away)  # the worker that measures may have it


@pytest.mark.parametrize(
    ("runtime", "kind"), [("llama.cpp", "W8A8"), ("llama.cpp-server", "W8A8"), ("transformers", "Q4_K_M")]
)
def test_a_type_of_another_runtime_is_a_fault(tmp_path: Path, runtime: str, kind: str) -> None:
    (fault,) = [fault for fault in faults_of(tmp_path, runtime, f"[{kind}]") if "can't run this type" in fault.what]
    assert (fault.value, runtime in fault.what) == (kind, True)


def test_a_missing_extra_is_told_with_its_command_before_the_baseline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_recipe, "find_spec", lambda name: None)
    for name in ("here", "elsewhere"):
        (tmp_path / name).mkdir()
    (fault,) = faults_of(tmp_path / "here", "transformers", "[W8A8]")
    assert "compressed-tensors needs llmcompressor and compressed_tensors" in fault.what
    assert fault.fix == "pip install 'quantplay[compressed-tensors]'"
    assert (
        faults_of(tmp_path / "elsewhere", "transformers", "[W8A8]", here=False) == []
    )  # the worker that measures may have it


@pytest.mark.parametrize(("runtime", "types"), [("transformers", "[W8A8]"), ("vllm", "[W4A16]")])
def test_a_cache_type_is_llama_cpps(tmp_path: Path, runtime: str, types: str) -> None:
    (fault,) = [one for one in faults_of(tmp_path, f"{runtime}\n  cache_type: q8_0", types) if "cache_type" in one.what]
    assert (fault.value, fault.allowed) == ("q8_0", "llama.cpp and llama.cpp-server")


def test_a_cache_type_whose_blocks_do_not_divide_a_head_is_a_fault(tmp_path: Path) -> None:
    """llama.cpp would refuse it only once the model is there."""
    file = load_plan(write_sample(tmp_path, edited("runtime: llama.cpp", "runtime: llama.cpp\n  cache_type: q8_0")))
    config = {
        "model_type": "llama",
        "hidden_size": 192,
        "intermediate_size": 256,
        "num_hidden_layers": 2,
        "vocab_size": 99,
    }

    def faults(heads: int) -> list[str]:
        folder = tmp_path / f"{heads}"
        folder.mkdir()
        (folder / "config.json").write_text(
            json.dumps(config | {"num_attention_heads": heads, "num_key_value_heads": 2})
        )
        return [one.what for one in cache_faults(file, file.parts["envelope"], folder)]

    assert faults(heads=6) == []
    assert faults(heads=4) == ["envelope.cache_type: blocks of 32 numbers don't divide a head of this model"]
