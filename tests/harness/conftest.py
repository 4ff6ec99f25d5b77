"""The pilot model as it is and as GGUF files, made once a test run by the real converter and quantizer."""

from __future__ import annotations

from pathlib import Path

import pytest

from quantplay.engines.converter import convert, ensure_converter
from quantplay.engines.llama_quantize import quantize_file
from quantplay.formats import TYPES
from quantplay.settings import settings

PILOT = Path(__file__).parents[2] / "examples" / "pilot"


@pytest.fixture(scope="session")
def pilot() -> Path:
    """The folder examples/pilot."""
    return PILOT


@pytest.fixture(scope="session")
def pilot_model(pilot: Path) -> Path:
    """The pilot model for transformers: a small Llama with a SentencePiece tokenizer."""
    folder = pilot / "model"
    if not (folder / "model.safetensors").is_file():
        pytest.skip("examples/pilot/model has no weights: run examples/pilot/train.py")
    return folder


@pytest.fixture(scope="session")
def reference_gguf(pilot_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Full precision in the serving runtime."""
    out = tmp_path_factory.mktemp("gguf") / "reference.gguf"
    convert(ensure_converter(settings().cache), pilot_model, out)
    return out


@pytest.fixture(scope="session")
def candidate_gguf(reference_gguf: Path) -> Path:
    """The same model in 4 bits."""
    out = reference_gguf.with_name("candidate.gguf")
    ftype = TYPES["Q4_K_M"].ftype
    assert ftype is not None
    quantize_file(reference_gguf, out, ftype=ftype, threads=1)
    return out
