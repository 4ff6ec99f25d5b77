"""Bad model folders, through `quantplay check`: exit code 2, a fault that helps, nothing written, no byte of them run.

What needs the weights themselves (NaN) or the libraries that load them is in tests/harness/test_bad_input_loading.py.
"""

from __future__ import annotations

import json
import os
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bad_input import Bad, answer_of, names, nothing_written, require_helpful
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plan_samples import write_sample
from safetensors.numpy import save_file

from quantplay.errors import InputError
from quantplay.evalset import manifest_of_model, require_finite_weights

MODEL = "model/model.safetensors"


def header(tensors: Any, data: bytes = b"", more: int = 0) -> bytes:
    """A safetensors file with this header; `more` is added to the length it claims."""
    raw = tensors if isinstance(tensors, bytes) else json.dumps(tensors).encode()
    return struct.pack("<Q", len(raw) + more) + raw + data


def tensor(dtype: str = "F32", shape: Any = (2,), offsets: Any = (0, 8)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def file(name: str, content: bytes | str):
    def supply(folder: Path) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    return supply


def weights(tensors: Any, data: bytes = b"", more: int = 0):
    return file(MODEL, header(tensors, data, more))


def saved(name: str = MODEL, **tensors: np.ndarray):
    return lambda folder: save_file(tensors, folder / name)


def config(name: str = "config.json", **values: Any):
    """Keys added to one of the model's JSON files."""

    def supply(folder: Path) -> None:
        path = folder / "model" / name
        body = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps(body | values))

    return supply


def gone(name: str):
    return lambda folder: (folder / name).unlink()


def link(name: str, target: str):
    return lambda folder: (folder / name).symlink_to(target)


def shards(*files: tuple[str, list[str]], index: dict[str, str] | None):
    """Weights in several files in place of the one, with an index where one is given."""

    def supply(folder: Path) -> None:
        (folder / MODEL).unlink()
        for name, tensors in files:
            save_file({tensor: np.zeros((2, 2), np.float32) for tensor in tensors}, folder / "model" / name)
        if index is not None:
            (folder / "model" / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))

    return supply


class Bomb:
    """A pickle that leaves a file where it is loaded."""

    def __reduce__(self):
        return os.mkdir, ("a-pickle-ran",)


TOO_MANY = {chr(code): code - 32 for code in range(32, 127)} | {"<extra>": 95}
ONE, TWO = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"

MODELS: list[Bad] = [
    # weights
    ("no weights", gone(MODEL), ("there are no weights", "*.safetensors")),
    ("weights of no byte", file(MODEL, b""), ("not usable as weights", "only 0 bytes", "copy the file again")),
    ("weights cut short", lambda folder: (folder / MODEL).write_bytes((folder / MODEL).read_bytes()[:-3]), ("truncated",)),
    ("bytes behind the weights", lambda folder: (folder / MODEL).write_bytes((folder / MODEL).read_bytes() + b"x"), ("appended to",)),
    ("a header longer than the file", weights({"w": tensor()}, bytes(8), more=100), ("claims", "truncated or no safetensors")),
    ("a header of 2^64 bytes", file(MODEL, b"\xff" * 64), ("claims 18446744073709551615 bytes",)),
    ("a header of 90 MB of nothing", lambda folder: [(folder / MODEL).write_bytes(struct.pack("<Q", 90_000_000)), os.truncate(folder / MODEL, 90_000_008)], ("its header is no JSON",)),
    ("a header of brackets", weights(b"[" * 1_000_000), ("its header is no JSON",)),
    ("a header that is a list", weights([]), ("no JSON object",)),
    ("no tensor", weights({"__metadata__": {"format": "pt"}}), ("it holds no tensor",)),
    ("a tensor of no value", weights({"w": tensor(shape=(0, 4), offsets=(0, 0))}), ("holds no value", "shape [0, 4]")),
    ("a tensor twice", weights(b'{"w": ' + json.dumps(tensor()).encode() + b', "w": ' + json.dumps(tensor()).encode() + b"}", bytes(8)), ("names a tensor twice",)),
    ("tensors that overlap", weights({"a": tensor(), "b": tensor(offsets=(4, 12))}, bytes(12)), ("overlap or leave gaps",)),
    ("a gap between tensors", weights({"a": tensor(), "b": tensor(offsets=(9, 17))}, bytes(17)), ("overlap or leave gaps",)),
    ("offsets behind the end", weights({"a": tensor(offsets=(1000, 1008))}, bytes(8)), ("overlap or leave gaps",)),
    ("offsets that run backwards", weights({"a": tensor(offsets=(8, 0))}, bytes(8)), ("its shape does not fit its bytes",)),
    ("a negative size", weights({"a": tensor(shape=(-2,))}, bytes(8)), ("its shape does not fit its bytes",)),
    ("sizes whose product overflows", weights({"a": tensor(shape=(2**62, 2**62, 2**62))}, bytes(8)), ("its shape does not fit its bytes",)),
    ("a number type nobody knows", weights({"a": tensor(dtype="F5")}, bytes(8)), ("has no valid dtype",)),
    ("8-bit weights", saved(**{"layer.weight": np.zeros((2, 2), np.int8)}), ("layer.weight", "is not full precision", "I8")),
    ("packed 4-bit weights", saved(**{"layer.qweight": np.zeros((2, 2), np.int32)}), ("layer.qweight", "is not full precision", "I32")),
    ("float8 weights", weights({"layer.weight": tensor("F8_E4M3", (8,), (0, 8))}, bytes(8)), ("is not full precision", "F8_E4M3")),
    ("a model that says it is quantized", config(quantization_config={"quant_method": "gptq", "bits": 4}), ("is quantized already", "gptq", "the weights this model was quantized from")),
    ("a GGUF file under another name", file(MODEL, b"GGUF\3\0\0\0" + bytes(64)), ("not usable as weights",)),
    ("a Git LFS pointer", file(MODEL, "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64), ("not usable as weights", "no safetensors")),
    ("a web page", file(MODEL, "<!doctype html><title>Log in</title>"), ("not usable as weights",)),
    ("a pickle", lambda folder: (folder / "model" / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb())), ("a pickle runs code", "safetensors")),
    ("a pickle under the name of weights", lambda folder: (folder / MODEL).write_bytes(pickle.dumps(Bomb())), ("not usable as weights",)),
    ("code beside the weights", file("model/modeling_own.py", "print('ran')"), ("modeling_own.py", "code in a model folder is not run")),
    ("a compiled module", file("model/kernels.so", b"\x7fELF"), ("kernels.so", "code in a model folder")),
    # shards
    ("a shard that is missing", shards((ONE, ["a"]), index={"a": ONE, "b": TWO}), ("names a shard that is not there", TWO, "copy the missing file")),
    ("a tensor the shard lacks", shards((ONE, ["a"]), (TWO, ["b"]), index={"a": ONE, "b": TWO, "c": TWO}), ("1 tensors of the index are not in", TWO)),
    ("a tensor in two shards", shards((ONE, ["a", "b"]), (TWO, ["b"]), index={"a": ONE, "b": TWO}), ("holds a tensor that another file holds too", "remove one")),
    ("shards without an index", shards((ONE, ["a"]), (TWO, ["b"]), index=None), ("their index is missing", ONE)),
    ("an index that leaves the folder", shards((ONE, ["a"]), index={"a": ONE, "b": "../../" + TWO}), ("names a shard that is not there", "../../")),
    ("an index that is none", lambda folder: (folder / "model" / "model.safetensors.index.json").write_text("[]"), ("model.safetensors.index.json", "no JSON object with `weight_map`")),
    # links
    ("a link out of the folder", link("model/notes.txt", "../gate.jsonl"), ("a link that leaves the folder", "gate.jsonl", "put the file itself there")),
    ("a link to a secret", link("model/vocab.txt", "/etc/shadow"), ("a link that leaves the folder",)),
    ("a folder linked in", link("model/more", "/etc"), ("a link that leaves the folder",)),
    ("a link to nowhere", link("model/notes.txt", "nowhere"), ("a link that leaves the folder, or leads to no file",)),
    ("a link to itself", link("model/loop", "loop"), ("a link that leaves the folder, or leads to no file",)),
    ("endless weights", lambda folder: [(folder / MODEL).unlink(), (folder / MODEL).symlink_to("/dev/zero")], ("a link that leaves the folder",)),
    ("weights that are a pipe", lambda folder: [(folder / MODEL).unlink(), os.mkfifo(folder / MODEL)], ("there are no weights",)),
    # config.json
    ("no config", gone("model/config.json"), ("config.json is missing",)),
    ("a config cut short", file("model/config.json", '{"model_type": "lla'), ("config.json", "no JSON object", "copy the file again")),
    ("a config that is a list", file("model/config.json", "[]"), ("config.json", "no JSON object")),
    ("a config without model type", file("model/config.json", "{}"), ("`model_type`", "llama")),
    ("a model type that is a number", config(model_type=7), ("`model_type`", "7")),
    ("a config of brackets", file("model/config.json", "[" * 100_000), ("config.json", "no JSON object")),
    ("a config that asks for code", config(auto_map={"AutoModel": "someone/model--modeling.Model"}), ("config.json", "asks for code of its own", "someone/model", "remove `auto_map`")),
    ("another vocabulary than the weights'", lambda folder: [config(vocab_size=100)(folder), saved(**{"model.embed_tokens.weight": np.zeros((99, 2), np.float32)})(folder)], ("`vocab_size` is not what the weights have", "100", "99")),
    ("a broken generation config", file("model/generation_config.json", '{"eos_token_id": '), ("generation_config.json", "no JSON object")),
    # tokenizer
    ("no tokenizer", gone("model/tokenizer.json"), ("the tokenizer is missing", "tokenizer.model")),
    ("half a tokenizer", lambda folder: [gone("model/tokenizer.json")(folder), file("model/vocab.json", "{}")(folder)], ("the tokenizer is missing", "vocab.json + merges.txt")),
    ("a tokenizer cut short", lambda folder: (folder / "model/tokenizer.json").write_bytes((folder / "model/tokenizer.json").read_bytes()[:-50]), ("tokenizer.json", "no JSON object")),
    ("a tokenizer of an unknown kind", config("tokenizer.json", model={"type": "Telepathy"}), ("the tokenizer can't be loaded",)),
    ("a tokenizer that is no tokenizer", file("model/tokenizer.json", "{}"), ("the tokenizer can't be loaded", "the tokenizers library")),
    ("a tokenizer that asks for code", config("tokenizer_config.json", auto_map={"AutoTokenizer": ["own.Tokenizer", None]}), ("tokenizer_config.json", "asks for code of its own")),
    ("a token without an embedding", lambda folder: [config(vocab_size=95)(folder), config("tokenizer.json", model=json.loads((folder / "model/tokenizer.json").read_text())["model"] | {"vocab": TOO_MANY})(folder)], ("1 tokens have no row", "'<extra>' is number 95", "below 95")),
]  # fmt: skip


@pytest.mark.parametrize(("name", "supply", "words"), MODELS, ids=names(MODELS))
def test_a_bad_model(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    supply,
    words: tuple[str, ...],
) -> None:
    monkeypatch.chdir(tmp_path)  # where code that runs would leave its trace
    path = write_sample(tmp_path)
    supply(tmp_path)
    with nothing_written(tmp_path):
        code, faults = answer_of(capsys, "check", {"plan": path})
    assert code == 2
    require_helpful(faults, words)


FLOATS = {np.float16: "F16", np.float32: "F32", np.float64: "F64"}


@pytest.mark.parametrize("kind", FLOATS, ids=list(FLOATS.values()))
@pytest.mark.parametrize("bad", [np.nan, -np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_named_before_a_run_pins_them(tmp_path: Path, kind: type, bad: float) -> None:
    write_sample(tmp_path)
    tensors = {"good.weight": np.ones((3, 5), kind), "bad.weight": np.ones((3, 5), kind)}
    tensors["bad.weight"][1, 2] = bad
    save_file(tensors, tmp_path / MODEL)
    with nothing_written(tmp_path), pytest.raises(InputError) as caught:
        manifest_of_model(tmp_path / "model", "model")
    assert [str(fault) for fault in caught.value.faults] == [
        "model.safetensors: bad.weight: 1 of 15 values are NaN or infinite"
    ]
    assert "download the model again" in str(caught.value)


BITS = {"F16": (np.uint16, np.float16), "F32": (np.uint32, np.float32), "F64": (np.uint64, np.float64)}


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), dtype=st.sampled_from([*BITS, "BF16"]))
def test_finite_means_what_the_number_format_says(tmp_path: Path, data: st.DataObject, dtype: str) -> None:
    """Any bits: refused exactly where numpy calls the value not finite. bfloat16 is the upper half of a float32."""
    kind, real = BITS.get(dtype, (np.uint16, np.float32))
    most = 2 ** (8 * kind().itemsize) - 1
    bits = np.array(data.draw(st.lists(st.integers(0, most), min_size=1, max_size=8)), kind)
    values = (bits.astype(np.uint32) << 16).view(np.float32) if dtype == "BF16" else bits.view(real)
    raw = header({"w": tensor(dtype, [len(bits)], [0, bits.nbytes])}, bits.tobytes())
    (tmp_path / "model.safetensors").write_bytes(raw)
    if np.isfinite(values).all():
        require_finite_weights(tmp_path)
    else:
        with pytest.raises(InputError, match=f"{np.count_nonzero(~np.isfinite(values))} of {len(bits)}"):
            require_finite_weights(tmp_path)
