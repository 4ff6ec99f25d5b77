"""Sources of a replay are the pinned files and nothing else; how far two files are apart is what it says."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantplay.digest import digest_of_bytes
from quantplay.errors import IntegrityError
from quantplay.handoff.sources import checked_sources, stays_inside
from quantplay.handoff.tensor_differences import TOLERANCE, FileDifferences, differences_job, differences_of
from quantplay.records import FileEntry, InputKind, Inputs, Manifest


def manifest(kind: InputKind, files: dict[str, bytes]) -> Manifest:
    entries = tuple(
        FileEntry(path=name, size_bytes=len(data), sha256=digest_of_bytes(data)) for name, data in files.items()
    )
    return Manifest.of(kind, kind, entries)


def inputs_with(model: dict[str, bytes]) -> Inputs:
    data = {"calibration.jsonl": b"{}"}
    return Inputs(
        model=manifest("model", model), calibration=manifest("calibration", data), evaluation=manifest("evaluation", data),
        heldout=manifest("heldout", data),
    )  # fmt: skip


def written(folder: Path, inputs: Inputs, model: dict[str, bytes]) -> Path:
    for kind, files in (("model", model), ("calibration", {"calibration.jsonl": b"{}"})):
        for name, data in files.items():
            (folder / kind / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / kind / name).write_bytes(data)
    return folder


def test_only_the_pinned_files_are_handed_on(tmp_path: Path) -> None:
    model = {"config.json": b"{}", "parts/one.safetensors": b"1"}
    folder = written(tmp_path / "sources", inputs_with(model), model)
    (folder / "model" / "extra.json").write_text("{}")
    staging = tmp_path / "staging"
    staging.mkdir()
    sources = checked_sources(folder, inputs_with(model), staging)
    found = {path.relative_to(staging).as_posix(): path.read_bytes() for path in staging.rglob("*") if path.is_file()}
    assert found == model
    assert sources.calibration.read_bytes() == b"{}"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("../../etc/passwd", "leaves its folder"),
        ("/etc/passwd", "leaves its folder"),
        ("a/../config.json", "leaves its folder"),
        ("./config.json", "leaves its folder"),
        ("..\\config.json", "leaves its folder"),
        ("weights.bin", "a pickle"),
        ("modeling_evil.py", "code in a model folder"),
        ("gone.json", "missing"),
    ],
)
def test_names_that_leave_code_and_missing_files_are_refused_together(tmp_path: Path, name: str, expected: str) -> None:
    folder = written(tmp_path / "sources", inputs_with({}), {"config.json": b"changed"})
    staging = tmp_path / "staging"
    staging.mkdir()
    with pytest.raises(IntegrityError) as refused:
        checked_sources(folder, inputs_with({"config.json": b"{}", name: b"x"}), staging)
    texts = [str(fault) for fault in refused.value.faults]
    assert any("model/config.json: another file than the pinned one" in text for text in texts)
    assert any(expected in text for text in texts), texts
    assert list(staging.iterdir()) == []


@given(st.text(max_size=30))
def test_a_name_that_stays_inside_is_below_its_folder(name: str) -> None:
    if stays_inside(name):
        assert Path("/a/b", name).resolve().is_relative_to("/a/b")
        assert Path("/a/b", name) != Path("/a/b")


def gguf_of(path: Path, tensors: dict[str, np.ndarray], kind: gguf.GGMLQuantizationType, note: str = "") -> Path:
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_string("quantplay.note", note)
    for name, values in tensors.items():
        writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def compared(recorded: Path, made: Path, reference: Path) -> FileDifferences:
    payload = {"recorded": str(recorded), "made": str(made), "reference": str(reference)}
    return differences_of(differences_job(payload, lambda *_: None))


def test_how_far_two_files_are_apart(tmp_path: Path) -> None:
    dice = np.random.default_rng(1)
    full = {name: dice.standard_normal((8, 64)).astype(np.float32) for name in ("same", "near", "far")}
    q8, f32 = gguf.GGMLQuantizationType.Q8_0, gguf.GGMLQuantizationType.F32
    reference = gguf_of(tmp_path / "reference.gguf", full, f32)
    recorded = gguf_of(tmp_path / "recorded.gguf", full, q8, "then")
    # One weight by the smallest step, and a tensor that is quite another.
    near = full["near"].copy()
    near[3, 5] += abs(near[3, 0:32]).max() / 127
    made = gguf_of(tmp_path / "made.gguf", full | {"near": near, "far": -full["far"]}, q8, "now")
    found = compared(recorded, made, reference)
    assert found.metadata == ("quantplay.note",)
    assert found.compared == 3
    by_name = {one.name: one for one in found.tensors}
    assert set(by_name) == {"near", "far"}
    # The definition itself, over whole tensors at once.
    for name, one in by_name.items():
        before, after = (
            gguf.quants.dequantize(next(t for t in gguf.GGUFReader(path).tensors if t.name == name).data, q8)
            for path in (recorded, made)
        )
        gap = (after - before).astype(np.float64)
        assert one.changed == pytest.approx(np.count_nonzero(gap) / gap.size)
        assert one.largest == pytest.approx(abs(gap).max())
        wanted = np.sqrt(np.square(gap).mean() / np.square(before - full[name].astype(np.float64)).mean())
        assert one.distance == pytest.approx(wanted)
    assert by_name["far"].distance is not None
    assert by_name["far"].distance > 1 > TOLERANCE
    assert not found.within_tolerance


def test_other_types_missing_tensors_and_equal_files(tmp_path: Path) -> None:
    values = {"a": np.ones((2, 64), np.float32), "b": np.ones((2, 64), np.float32)}
    q8, f32 = gguf.GGMLQuantizationType.Q8_0, gguf.GGMLQuantizationType.F32
    reference = gguf_of(tmp_path / "reference.gguf", values, f32)
    recorded = gguf_of(tmp_path / "recorded.gguf", values, q8)
    made = gguf_of(tmp_path / "made.gguf", {"a": values["a"]}, f32)
    same = compared(recorded, recorded, reference)
    assert same.tensors == ()
    assert same.within_tolerance
    found = {one.name: (one.recorded, one.made) for one in compared(recorded, made, reference).tensors}
    assert found == {"a": ("Q8_0", "F32"), "b": ("Q8_0", None)}
    (tmp_path / "damaged.gguf").write_bytes(made.read_bytes()[:-40])
    with pytest.raises(IntegrityError, match="can't be compared"):
        compared(recorded, tmp_path / "damaged.gguf", reference)
