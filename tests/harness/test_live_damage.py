"""The damaged model of `quantplay pilot --live`: nothing tells it from the sound one but its digest and its answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from quantplay.engines.gguf_header import read_gguf_header
from quantplay.engines.llama_cpp import LlamaModel
from quantplay.errors import InputError, IntegrityError
from quantplay.evalset import EvalItem, read_items
from quantplay.live.show.damage import spoil
from quantplay.live.show.traffic import right


def test_it_has_the_same_shape_and_only_one_layer_differs(candidate_gguf: Path, tmp_path: Path) -> None:
    out = tmp_path / "damaged.gguf"
    names = spoil(candidate_gguf, out)
    before, after = read_gguf_header(candidate_gguf), read_gguf_header(out)
    assert before == after
    sound, damaged = candidate_gguf.read_bytes(), out.read_bytes()
    assert len(sound) == len(damaged)
    assert sound[: before.data_start] == damaged[: before.data_start]
    changed = {
        name for name, tensor in before.tensors.items()
        if sound[(at := before.data_start + tensor.offset) : at + tensor.size_bytes] != damaged[at : at + tensor.size_bytes]
    }  # fmt: skip
    assert changed == set(names)
    assert {name.split(".")[1] for name in names} == {"2"}
    for name in names:  # the same blocks at other places
        tensor = before.tensors[name]
        part = slice(before.data_start + tensor.offset, before.data_start + tensor.offset + tensor.size_bytes)
        assert sorted(sound[part]) == sorted(damaged[part])


def test_the_same_seed_gives_the_same_bytes(candidate_gguf: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        spoil(candidate_gguf, tmp_path / name, seed=seed)
    a, b, c = ((tmp_path / name).read_bytes() for name in "abc")
    assert a == b != c


def test_it_loads_and_answers_worse_but_not_nothing(candidate_gguf: Path, pilot: Path, tmp_path: Path) -> None:
    spoil(candidate_gguf, tmp_path / "damaged.gguf")
    items = read_items(pilot / "evaluation" / "dev.jsonl")[::10]
    sound, damaged = (answered_right(path, items) for path in (candidate_gguf, tmp_path / "damaged.gguf"))
    assert sound > 0.9
    assert 0.1 < damaged < 0.8


def answered_right(model: Path, items: Sequence[EvalItem]) -> float:
    with LlamaModel(model, threads=1, context_tokens=256, sequences=4) as loaded:
        prompts = [loaded.tokenize(item.prompt) for item in items]
        answers = loaded.generate(prompts, max_tokens=64, stop=("\n",))
        texts = [answer.text.removeprefix(" ") for answer in answers]
    return sum(right(item, text) for item, text in zip(items, texts, strict=True)) / len(items)


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(b"GGUF nothing")
    with pytest.raises((IntegrityError, InputError)):
        spoil(tmp_path / "x.gguf", tmp_path / "y.gguf")
    assert not (tmp_path / "y.gguf").exists()
