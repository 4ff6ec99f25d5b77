"""Bytes of the packed formats as the planner tells them, against folders the real libraries write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from quantize_models import save_random_llama
from test_folder_formats import KINDS, make, recipe

from quantplay.engines.model_file import model_folder
from quantplay.engines.transformers_logits import FolderModel
from quantplay.envelope.memory import estimate
from quantplay.envelope.packed import packed_bytes
from quantplay.envelope.shape import read_header, read_shape


@pytest.mark.slow
def test_a_folder_and_the_model_it_loads_as_take_what_the_planner_tells(
    pilot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    model = save_random_llama(tmp_path / "model", hidden=512, intermediate=1024)
    shape = read_shape(model)
    made = make(tmp_path / "made", model, pilot, {kind: recipe(kind) for kind in KINDS})
    assert not [body for body in made.values() if "error" in body], made
    sizes: dict[str, Any] = {}
    for kind in KINDS:
        with model_folder(tmp_path / "made" / f"{kind}.tar") as folder:
            headers = [read_header(path) for path in folder.glob("*.safetensors")]
        entries = [entry for header in headers for name, entry in header.items() if name != "__metadata__"]
        found = sum(end - begin for begin, end in (entry["data_offsets"] for entry in entries))
        sizes[kind] = found - packed_bytes(shape, kind, full_bytes=shape.source_width)
    assert sizes == dict.fromkeys(KINDS, 0)
    for kind in KINDS:
        predicted = estimate(shape, kind, context_tokens=64, batch=1, importance=False, runtime="transformers")
        with FolderModel(tmp_path / "made" / f"{kind}.tar", threads=1, context_tokens=64, sequences=1) as loaded:
            loaded.logits([1, 2, 3])  # compressed-tensors unpacks at the first pass
            assert loaded.weights_bytes == pytest.approx(predicted.held_bytes, rel=0.02), kind
