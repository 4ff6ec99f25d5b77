"""Models that only the libraries which load them can judge: transformers, the tokenizer and llama.cpp's converter.

Each case damages one thing of a small Llama. All that is asked of the library is a clear InputError; nothing is written.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from bad_input import nothing_written
from quantize_models import save_random_llama
from safetensors.numpy import load_file, save_file

from quantplay.engines.converter import convert, ensure_converter
from quantplay.engines.llama_cpp import LlamaModel
from quantplay.engines.transformers_model import load_model, load_tokenizer
from quantplay.errors import InputError
from quantplay.evalset import manifest_of_model
from quantplay.settings import settings

Damage = Callable[[Path], object]
DOWN = "model.layers.0.mlp.down_proj.weight"


def tensors(change: Callable[[dict[str, np.ndarray]], object]) -> Damage:
    def damage(folder: Path) -> None:
        found = load_file(folder / "model.safetensors")
        change(found)
        save_file(found, folder / "model.safetensors", metadata={"format": "pt"})

    return damage


def config(**values: object) -> Damage:
    def damage(folder: Path) -> None:
        body = json.loads((folder / "config.json").read_text()) | values
        (folder / "config.json").write_text(json.dumps(body))

    return damage


def content(name: str, raw: bytes) -> Damage:
    return lambda folder: (folder / name).write_bytes(raw)


def only_sentencepiece(raw: bytes) -> Damage:
    """A tokenizer of SentencePiece alone, with these bytes."""

    def damage(folder: Path) -> None:
        (folder / "tokenizer.json").unlink()
        (folder / "tokenizer.model").write_bytes(raw)

    return damage


MODELS: list[tuple[str, Damage, tuple[str, ...]]] = [
    ("a missing tensor", tensors(lambda found: found.pop(DOWN)), ("the weights do not fit config.json", "down_proj")),
    ("a tensor too many", tensors(lambda found: found.update({"model.layers.9.extra.weight": np.ones((2, 2), np.float32)})), ("the weights do not fit config.json", "layers.9")),
    ("a layer config.json does not know", tensors(lambda found: found.update({name.replace("layers.0", "layers.1"): value.copy() for name, value in found.items() if "layers.0" in name})), ("the weights do not fit config.json", "layers.1")),
    ("a layer fewer than config.json says", config(num_hidden_layers=2), ("the weights do not fit config.json", "layers.1")),
    ("a tensor of another shape", tensors(lambda found: found.update({DOWN: found[DOWN][:, :128].copy()})), ("down_proj",)),
    ("another width than config.json says", config(hidden_size=128), ("weight",)),
    ("heads that do not divide the width", config(num_attention_heads=7, head_dim=None), ("can't load the model",)),
    ("a model type transformers does not know", config(model_type="telepathy"), ("can't load the model", "telepathy")),
    ("a number that is a word", config(hidden_size="wide"), ("can't load the model",)),
    ("no layer size", config(intermediate_size=-1), ("can't load the model",)),
    ("an activation nobody knows", config(hidden_act="magic"), ("can't load the model", "magic")),
]  # fmt: skip

TOKENIZERS: list[tuple[str, Damage, tuple[str, ...]]] = [
    ("an empty tokenizer.json", content("tokenizer.json", b""), ("can't load the tokenizer",)),
    ("a tokenizer.json that is none", content("tokenizer.json", b"{}"), ("can't load the tokenizer",)),
    ("a tokenizer of an unknown kind", content("tokenizer.json", b'{"model": {"type": "Telepathy"}}'), ("can't load the tokenizer",)),
    ("a SentencePiece model of no byte", only_sentencepiece(b""), ("can't load the tokenizer",)),
    ("a SentencePiece model of other bytes", only_sentencepiece(b"\x0a\xff" * 50), ("can't load the tokenizer",)),
    ("a broken tokenizer_config.json", content("tokenizer_config.json", b"{"), ("can't load the tokenizer",)),
]  # fmt: skip


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_random_llama(tmp_path_factory.mktemp("good") / "model")


@pytest.fixture
def folder(good: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(good, tmp_path / "model"))


def refused(folder: Path, load: Callable[[Path], object], words: tuple[str, ...]) -> None:
    with nothing_written(folder.parent), pytest.raises(InputError) as caught:
        load(folder)
    text = str(caught.value)
    assert all(word in text for word in words), text
    assert caught.value.allowed or caught.value.fix, text


def test_the_undamaged_model_loads(folder: Path) -> None:
    load_model(folder)
    load_tokenizer(folder)


@pytest.mark.parametrize(("name", "damage", "words"), MODELS, ids=[row[0] for row in MODELS])
def test_a_bad_model(folder: Path, name: str, damage: Damage, words: tuple[str, ...]) -> None:
    damage(folder)
    refused(folder, load_model, words)


@pytest.mark.parametrize(("name", "damage", "words"), TOKENIZERS, ids=[row[0] for row in TOKENIZERS])
def test_a_bad_tokenizer(folder: Path, name: str, damage: Damage, words: tuple[str, ...]) -> None:
    damage(folder)
    refused(folder, load_tokenizer, words)


def test_one_nan_among_a_model_s_weights_stops_the_run_that_would_pin_it(tmp_path: Path) -> None:
    model = save_random_llama(tmp_path / "model", damage=DOWN)
    refused(model, lambda folder: manifest_of_model(folder, "model"), (f"{DOWN}: 1 of 65536 values are NaN", "again"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (config(architectures=["NobodysForCausalLM"]), ("NobodysForCausalLM", "architecture this version of llama.cpp knows")),
        (only_sentencepiece(b"\x0a\xff" * 50), ("can't convert",)),
    ],
    ids=["an unknown architecture", "a broken tokenizer"],
)  # fmt: skip
def test_the_converter_s_refusals_are_ours(folder: Path, damage: Damage, words: tuple[str, ...]) -> None:
    damage(folder)
    converter = ensure_converter(settings().cache)
    refused(folder, lambda model: convert(converter, model, folder.parent / "out.gguf"), words)


@pytest.mark.slow
def test_a_file_the_converter_takes_for_whole_is_refused_by_the_runtime(folder: Path) -> None:
    tensors(lambda found: found.pop("model.embed_tokens.weight"))(folder)
    out = folder.parent / "out.gguf"
    convert(ensure_converter(settings().cache), folder, out)
    refused(out, lambda file: LlamaModel(file, threads=1, context_tokens=64), ("can't load",))
