from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from quantize_models import save_random_llama
from safetensors.numpy import load_file

from quantplay import process
from quantplay.errors import InputError
from quantplay.quantizers.importance import (
    ImportanceMatrix,
    calibration_texts,
    importance_of_tokens,
    load_importance,
    measure_importance,
    save_importance,
)

TEXTS = ["order 12: lamp to oslo on friday", "order 7: rug", "total?\nno items\n" * 20]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_random_llama(tmp_path_factory.mktemp("importance") / "model", layers=2)


@pytest.fixture(scope="module")
def matrix(model: Path) -> ImportanceMatrix:
    return measure_importance(model, TEXTS, tokens=24, threads=1)


def test_every_matrix_of_every_block_is_covered(matrix: ImportanceMatrix) -> None:
    parts = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
    assert matrix.values.keys() == {f"blk.{layer}.{part}.weight" for layer in (0, 1) for part in parts}
    assert all(values.dtype == np.float32 and values.shape == (256,) for values in matrix.values.values())
    assert matrix.samples == len(TEXTS)
    np.testing.assert_array_equal(matrix.values["blk.1.attn_q.weight"], matrix.values["blk.1.attn_v.weight"])


def test_the_first_layer_agrees_with_the_formula(model: Path, matrix: ImportanceMatrix) -> None:
    """attn_q of block 0 sees the normed embeddings: mean over all tokens of their squares, computed here in numpy."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    weights = load_file(model / "model.safetensors")
    ids = [id_ for text in TEXTS for id_ in tokenizer(text)["input_ids"][:24]]
    rows = weights["model.embed_tokens.weight"][ids].astype(np.float64)
    epsilon = json.loads((model / "config.json").read_text())["rms_norm_eps"]
    rows /= np.sqrt((rows**2).mean(axis=1, keepdims=True) + epsilon)
    rows *= weights["model.layers.0.input_layernorm.weight"]
    assert matrix.tokens == len(ids)
    np.testing.assert_allclose(matrix.values["blk.0.attn_q.weight"], (rows**2).mean(axis=0), rtol=1e-4)


def test_equal_inputs_give_equal_bytes_and_texts_are_averaged(
    model: Path, matrix: ImportanceMatrix, tmp_path: Path
) -> None:
    again = measure_importance(model, TEXTS, tokens=24, threads=1)
    assert again.digest() == matrix.digest()
    save_importance(matrix, tmp_path / "a")
    save_importance(again, tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    turned = measure_importance(model, TEXTS[::-1], tokens=24, threads=1)
    for name, values in matrix.values.items():
        np.testing.assert_allclose(turned.values[name], values, rtol=1e-4)
    assert measure_importance(model, TEXTS[:2], tokens=24, threads=1).digest() != matrix.digest()


@pytest.mark.parametrize("threads", [2, 4])
def test_a_thread_count_gives_its_own_bytes_every_time(model: Path, matrix: ImportanceMatrix, threads: int) -> None:
    first, again = (measure_importance(model, TEXTS, tokens=24, threads=threads) for _ in range(2))
    assert again.digest() == first.digest()
    for name, values in matrix.values.items():
        np.testing.assert_allclose(first.values[name], values, rtol=1e-5)


def test_texts_and_their_tokens_give_the_same_matrix(model: Path, matrix: ImportanceMatrix) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    samples = [tokenizer(text)["input_ids"][:24] for text in TEXTS]
    assert importance_of_tokens(model, samples, threads=1).digest() == matrix.digest()


def test_it_survives_a_file(matrix: ImportanceMatrix, tmp_path: Path) -> None:
    path = tmp_path / "new" / "importance.safetensors"
    save_importance(matrix, path)
    back = load_importance(path)
    assert (back.digest(), back.samples, back.tokens) == (matrix.digest(), matrix.samples, matrix.tokens)


@pytest.mark.parametrize("content", [b"", b"\x80\x04K\x01.", b"\x02\x00\x00\x00\x00\x00\x00\x00{}"])
def test_another_file_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(InputError, match="no importance matrix"):
        load_importance(tmp_path / "x")


def test_the_digest_sees_names_values_and_counts() -> None:
    def made(name: str = "a", value: float = 1, samples: int = 1, tokens: int = 9) -> str:
        return ImportanceMatrix(values={name: np.array([value], np.float32)}, samples=samples, tokens=tokens).digest()

    assert len({made(), made(name="b"), made(value=1.0000001), made(samples=2), made(tokens=8)}) == 5


def test_a_model_that_overflows_is_refused(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    folder = save_random_llama(tmp_path / "m")
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.0.self_attn.v_proj.weight"] *= np.float32(1e38)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match="overflows") as caught:
        measure_importance(folder, TEXTS[:1], tokens=24, threads=1)
    assert "blk.0.attn_output.weight" in [fault.where for fault in caught.value.faults]


def test_no_texts_are_refused(model: Path) -> None:
    with pytest.raises(InputError, match="no calibration texts"):
        measure_importance(model, [], tokens=24, threads=1)


def test_the_job_writes_the_same_matrix(model: Path, tmp_path: Path) -> None:
    calibration = tmp_path / "texts.jsonl"
    lines = [json.dumps({"id": f"t{index}", "text": text}) for index, text in enumerate([*TEXTS, "left out"])]
    calibration.write_text("\n".join(lines) + "\n")
    assert calibration_texts(calibration, 3) == TEXTS
    payload = {
        "model": str(model), "calibration": str(calibration), "samples": 3, "tokens": 24, "threads": 1,
        "out": str(tmp_path / "importance"),
    }  # fmt: skip
    outcome = process.run("quantplay.quantizers.importance:importance_job", payload, threads=1)
    assert load_importance(tmp_path / "importance").digest() == outcome.value["digest"]
    assert outcome.value["samples"] == 3
