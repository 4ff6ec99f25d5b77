"""The peak memory of a training, predicted before it starts, against what its process took."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from quantplay import process
from quantplay.envelope.jobs import training_bytes
from quantplay.envelope.shape import read_shape
from quantplay.records import TrainingSettings

pytestmark = pytest.mark.slow
WEIGHTS = {
    "hidden_size": 512,
    "intermediate_size": 1536,
    "num_hidden_layers": 6,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
}
ROWS = {
    "hidden_size": 128,
    "intermediate_size": 384,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
}


@pytest.mark.parametrize(
    ("sizes", "asked"),
    [
        (WEIGHTS, {"rows": 1, "row_tokens": 64}),  # masters, moments and copies are most of it
        (ROWS, {"rows": 16, "row_tokens": 256}),  # what is kept for the way back is
        (ROWS, {"rows": 16, "row_tokens": 256, "micro_rows": 4, "gradient_checkpointing": True}),
    ],
    ids=["weights", "rows", "fewer-rows"],
)
def test_the_prediction_holds(
    sizes: dict[str, int], asked: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model("llama", vocab_size=2048, tie_word_embeddings=True, **sizes)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "model")
    settings = TrainingSettings(
        steps=2, learning_rate=1e-5, checkpoint_every=1, precision="float32", device="cpu", **asked
    )
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    payload = {"folder": str(tmp_path), "settings": json.dumps(settings.body())}
    taken = process.run("qat_folder_jobs:peak_of_training", payload, threads=1).value
    predicted = training_bytes(read_shape(tmp_path / "model"), settings)
    assert 0.9 * taken <= predicted <= 1.25 * taken, (predicted, taken)
