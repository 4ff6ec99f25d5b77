"""The peak memory of a scan, predicted before it starts, against what its process took."""

from __future__ import annotations

from pathlib import Path

import pytest

from quantplay import process
from quantplay.envelope.jobs import scan_bytes
from quantplay.envelope.shape import read_shape

pytestmark = pytest.mark.slow
TYPES = ("full", "W8A16", "W4A16")
WEIGHTS = {
    "vocab_size": 2048, "hidden_size": 512, "intermediate_size": 1536, "num_hidden_layers": 6, "num_attention_heads": 8,
    "num_key_value_heads": 4,
}  # fmt: skip
WORDS = {
    "vocab_size": 65536, "hidden_size": 64, "intermediate_size": 192, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1,
}  # fmt: skip


@pytest.mark.parametrize(
    ("sizes", "sequences", "tokens"),
    [
        (WEIGHTS, 4, 64),  # weights, and what they become, are most of it
        (WEIGHTS, 32, 256),  # what is kept of every block is
        (WORDS, 8, 256),  # the distributions are
    ],
    ids=["weights", "kept", "words"],
)
def test_the_prediction_holds(
    sizes: dict[str, int], sequences: int, tokens: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model("llama", tie_word_embeddings=True, **sizes)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "model")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    payload = {"folder": str(tmp_path), "sequences": sequences, "tokens": tokens, "types": TYPES}
    taken = process.run("qat_folder_jobs:peak_of_scan", payload, threads=1).value
    predicted = scan_bytes(read_shape(tmp_path / "model"), sequences=sequences, tokens=tokens, types=len(TYPES))
    assert 0.9 * taken <= predicted <= 1.25 * taken, (predicted, taken)
