"""Model folders: what is pinned, and what is refused before any library loads it."""

import json
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from quantplay.digest import digest_of_file
from quantplay.errors import InputError
from quantplay.evalset import manifest_of_files, manifest_of_model, model_files, resolve_model
from quantplay.evalset.weights import BrokenWeightsError, read_header
from quantplay.plan import ModelSource


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text('{"model_type": "llama"}')
    (model / "tokenizer.json").write_text("{}")
    tensors = {"a": np.zeros((3, 5), np.float32), "b": np.ones(7, np.int8), "scalar": np.zeros((), np.float16)}
    save_file(tensors, model / "model.safetensors", metadata={"format": "pt"})
    return model


def refused(folder: Path) -> list[str]:
    with pytest.raises(InputError) as caught:
        manifest_of_model(folder, "model")
    return [str(fault) for fault in caught.value.faults]


def test_every_visible_file_is_pinned(folder: Path) -> None:
    (folder / ".cache").mkdir()
    (folder / ".cache" / "x").write_text("hidden")
    (folder / ".gitattributes").write_text("hidden")
    (folder / "extra").mkdir()
    (folder / "extra" / "notes.txt").write_text("seen")
    (folder / "link.json").symlink_to("config.json")
    manifest = manifest_of_model(folder, "../model")
    assert manifest.kind == "model"
    assert {file.path: file.sha256 for file in manifest.files} == {
        name: digest_of_file(folder / name)
        for name in ("config.json", "extra/notes.txt", "link.json", "model.safetensors", "tokenizer.json")
    }


def test_the_digest_does_not_depend_on_the_place(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "else where"
    shutil.copytree(folder, copy)
    assert manifest_of_model(copy, "a").content == manifest_of_model(folder, "b").content
    (copy / "config.json").write_text('{"model_type": "llama" }')
    assert manifest_of_model(copy, "a").content != manifest_of_model(folder, "a").content


@pytest.mark.parametrize("name", ["pytorch_model.bin", "x.pt", "x.PTH", "x.pkl", "x.ckpt", "sub/modeling.py", "x.so"])
def test_pickles_and_code_are_refused(folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"x")
    (fault,) = refused(folder)
    assert fault.startswith(name)


def test_links_out_of_the_folder_are_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    (folder / "a.txt").symlink_to("../secret")
    (folder / "b").symlink_to(tmp_path)
    (folder / "c.txt").symlink_to("nowhere")
    (folder / "d.txt").symlink_to("d.txt")
    assert len(refused(folder)) == 4


def test_all_that_is_missing_is_listed(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"x")
    assert len(refused(tmp_path)) == 4
    with pytest.raises(InputError, match="no such model folder"):
        manifest_of_model(tmp_path / "none", "none")


def test_quantized_weights_are_served_and_never_quantized_again(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "llama", "quantization_config": {"quant_method": "gptq"}}')
    save_file({"q_proj.weight": np.ones((2, 2), np.int8)}, folder / "model.safetensors")
    assert set(model_files(folder, quantized=True)) == {"config.json", "model.safetensors", "tokenizer.json"}
    assert ["quantized already" in text or "full precision" in text for text in refused(folder)] == [True, True]
    (folder / "weights.bin").write_bytes(b"x")
    with pytest.raises(InputError, match="pickle"):
        model_files(folder, quantized=True)


def test_a_config_that_is_no_config(folder: Path) -> None:
    (folder / "config.json").write_text("[]")
    assert "model_type" in refused(folder)[0]


@pytest.mark.parametrize("cut", [0, 4, 8, 100, -1])
def test_truncated_weights_are_refused(folder: Path, cut: int) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:cut])
    (fault,) = refused(folder)
    assert "not usable as weights" in fault


def test_appended_bytes_are_refused(folder: Path) -> None:
    with (folder / "model.safetensors").open("ab") as file:
        file.write(b"\0")
    assert "appended to" in refused(folder)[0]


def test_shards_must_be_there(folder: Path) -> None:
    index = {"weight_map": {"a": "model.safetensors", "z": "model.safetensors", "y": "model-2.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    faults = refused(folder)
    assert any("model-2.safetensors" in fault for fault in faults)
    assert any("1 tensors of the index are not in" in fault for fault in faults)
    (folder / "model.safetensors.index.json").write_text("{}")
    assert "weight_map" in refused(folder)[0]


def test_names_are_those_of_the_library(folder: Path) -> None:
    assert set(read_header(folder / "model.safetensors")) == {"a", "b", "scalar"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 9) | st.text(max_size=3) | st.sampled_from(["F32", "I8"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["dtype", "shape", "data_offsets", "__metadata__", "w"]), inner)
    ),
    max_leaves=12,
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(JSON.map(lambda body: json.dumps(body).encode()) | st.binary(), st.integers(0, 9), st.binary(max_size=12))
def test_any_header_is_read_or_refused(tmp_path: Path, header: bytes, more: int, data: bytes) -> None:
    path = tmp_path / "fuzz.safetensors"
    path.write_bytes(struct.pack("<Q", len(header) + more) + header + data)
    try:
        names = read_header(path)
    except BrokenWeightsError:
        return
    assert len(set(names)) == len(names)


def test_manifest_of_files_lists_all_that_is_missing(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    files = {"one": tmp_path / "a", "two": tmp_path / "b", "three": tmp_path}
    with pytest.raises(InputError) as caught:
        manifest_of_files("evaluation", files, "src")
    assert len(caught.value.faults) == 2
    manifest = manifest_of_files("heldout", {"one": tmp_path / "a"}, "src")
    assert (manifest.files[0].path, manifest.size_bytes) == ("one", 1)


def test_local_sources(folder: Path, tmp_path: Path) -> None:
    assert resolve_model(ModelSource(source="model"), tmp_path) == folder.resolve()
    assert resolve_model(ModelSource(source=str(folder)), Path("/")) == folder.resolve()
    with pytest.raises(InputError, match="no such model folder"):
        resolve_model(ModelSource(source="./nothing"), tmp_path)


def test_a_hub_source_needs_a_commit(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="pinned commit"):
        resolve_model(ModelSource(source="org/name"), tmp_path)
    with pytest.raises(InputError, match="belongs to a hub id"):
        resolve_model(ModelSource(source="a/b/c", commit="0" * 40), tmp_path)


def test_a_downloaded_commit_is_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from quantplay.settings import settings as cached

    monkeypatch.setenv("QUANTPLAY_CACHE", str(tmp_path))
    cached.cache_clear()
    there = tmp_path / "models" / "org--name" / ("a" * 40)
    there.mkdir(parents=True)
    try:
        assert resolve_model(ModelSource(source="org/name", commit="a" * 40), tmp_path) == there
    finally:
        cached.cache_clear()
