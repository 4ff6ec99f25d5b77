"""`quantplay import` on a real database, with files of llama.cpp's own quantizer: what is registered, shown, and never offered."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import store_samples as samples
from locked_models import lock_model

from quantplay.cli.release import folder_of
from quantplay.engines.converter import convert, ensure_converter
from quantplay.engines.llama_quantize import quantize_file
from quantplay.engines.model_file import model_folder
from quantplay.errors import InputError
from quantplay.handoff.replay import require_replayable
from quantplay.live.release_check import check_release
from quantplay.plan import Plan
from quantplay.plays.imports import artifact_of_import, recipe_of_import, required_import
from quantplay.quantizers.imported_check import imported_faults
from quantplay.records import Inputs, Manifest
from quantplay.settings import settings
from quantplay.store.catalogue import Wanted
from quantplay.store.registry import Store
from tests.harness.quantize_models import number_of
from tests.unit import imported_folders as folders

Ask = Callable[..., str]
PILOT = Path(__file__).parents[2] / "examples" / "pilot" / "model"


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pilot model in four bits, as somebody made it with llama.cpp."""
    folder = tmp_path_factory.mktemp("elsewhere")
    convert(ensure_converter(settings().cache), PILOT, folder / "full.gguf")
    quantize_file(folder / "full.gguf", folder / "theirs.gguf", ftype=number_of("Q4_K_M"), threads=1)
    return folder / "theirs.gguf"


def imported(ask: Ask, gguf: Path, **given: Any) -> dict[str, Any]:
    return json.loads(ask("import_artifact", json=True, artifact=gguf, base=str(PILOT), **given))


def test_it_is_registered_once_pinned_and_unvalidated(ask: Ask, store: Store, gguf: Path) -> None:
    first = imported(ask, gguf, origin="a colleague")
    assert (first["status"], first["new"], first["format"], first["type"]) == ("unvalidated", True, "gguf", "Q4_K_M")
    assert (first["nominal_bits"], first["group_size"], first["size_bytes"]) == (4, 32, gguf.stat().st_size)
    again = imported(ask, gguf, name="another name")
    assert (again["sha256"], again["name"], again["new"]) == (first["sha256"], "theirs", False)
    assert store.artifacts.size(first["sha256"]) == gguf.stat().st_size
    assert store.kept_files()[first["sha256"]] == ("imported as theirs",)
    (event,) = store.events(kind="artifact.imported")
    assert (event.subject, event.body["origin"]) == (first["sha256"], "a colleague")


def test_a_folder_is_kept_as_one_file(ask: Ask, store: Store, tmp_path: Path) -> None:
    tensors = folders.quantized(folders.awq_layer)
    folder = folders.saved(tmp_path / "model-3.1-awq", {"quantization_config": folders.AWQ}, tensors)
    base = folders.full_precision(tmp_path / "base")
    told = json.loads(ask("import_artifact", json=True, artifact=folder, base=str(base)))
    assert (told["name"], told["format"], told["type"]) == ("model-3.1-awq", "awq", "AWQ_INT4_G128")
    assert {one["path"]: one["size_bytes"] for one in told["files"]} == {
        path.name: path.stat().st_size for path in folder.iterdir()
    }
    kept = store.artifacts.get(told["sha256"], tmp_path / "kept.tar")
    with model_folder(kept) as opened:
        assert {path.name: path.read_bytes() for path in opened.iterdir()} == {
            path.name: path.read_bytes() for path in folder.iterdir()
        }
    elsewhere = tmp_path / "copy"
    folder.rename(elsewhere)
    assert json.loads(ask("import_artifact", json=True, artifact=elsewhere, base=str(base)))["new"] is False
    (elsewhere / "model.safetensors").unlink()
    ask("import_artifact", code=2, artifact=elsewhere, base=str(base))


def test_the_registry_shows_it_beside_the_packages(ask: Ask, store: Store, gguf: Path) -> None:
    package = lock_model(store, "desk")
    told = imported(ask, gguf)
    body = json.loads(ask("packages", json=True))
    assert [one["package"] for one in body["packages"]] == [package]
    assert [(one["sha256"], one["status"]) for one in body["imports"]] == [(told["sha256"], "unvalidated")]
    assert "not to be released" in ask("packages")
    assert told["sha256"][:12] in ask("packages", state="unvalidated")
    assert told["sha256"][:12] in ask("packages", looking=True, text="theirs")
    for elsewhere in ({"owner": "kim"}, {"bits": 8}, {"runtime": "vllm"}, {"state": "confirmed"}, {"base": "0" * 12}):
        assert told["sha256"][:12] not in ask("packages", **elsewhere)
    shown = ask("registry_show", package="theirs")
    assert "unvalidated" in shown
    assert told["sha256"] in shown
    assert json.loads(ask("registry_show", package=told["sha256"][:12], json=True))["base"] == told["base"]
    side_by_side = ask("registry_compare", packages=[package, "theirs"])
    assert "unvalidated" in side_by_side
    assert "imported: theirs" in side_by_side
    assert "no locked package has this key" in ask("registry_show", code=2, package="nothing")


def test_what_is_no_package_is_not_offered_named_or_released(ask: Ask, store: Store, gguf: Path) -> None:
    told = imported(ask, gguf)
    assert store.find_packages(Wanted(base=told["base"])) == ()  # what a run is offered comes from these
    assert "no locked package" in ask("alias", code=2, name="desk/now", package=told["sha256"], reason="because")
    for name in ("theirs", told["sha256"][:12]):
        with pytest.raises(InputError, match="only a package can be released"):
            folder_of(Path(name))
    for path in (gguf, PILOT):
        with pytest.raises(InputError, match="a model and no package"):
            check_release(path)


@pytest.mark.parametrize("harm", ["cut", "nan", "other model", "full"])
def test_a_bad_file_leaves_nothing_behind(harm: str, ask: Ask, store: Store, gguf: Path, tmp_path: Path) -> None:
    bad, base, code = tmp_path / "bad.gguf", PILOT, 2
    if harm == "cut":
        bad.write_bytes(gguf.read_bytes()[:-1000])
        said = "is no complete GGUF file"
    elif harm == "nan":
        data = bytearray(gguf.read_bytes())
        data[-8192:] = b"\xff" * 8192  # a tensor's last blocks, scales and all
        bad.write_bytes(data)
        said = "NaN or infinite"
    elif harm == "full":
        bad, said = gguf.with_name("full.gguf"), "this file is not quantized"
    else:
        base = tmp_path / "base"
        shutil.copytree(PILOT, base)
        config = json.loads((base / "config.json").read_text())
        (base / "config.json").write_text(json.dumps(config | {"model_type": "qwen2"}))
        bad, said = gguf, "was not made from the model"
    errors = ask("import_artifact", code=code, artifact=bad, base=str(base))
    assert said in " ".join(errors.split())
    assert store.list_imports() == ()
    assert store.kept_files() == {}
    assert not [*store.artifacts.listing()]


def test_a_run_refuses_what_its_plan_does_not_fit_before_it_measures(ask: Ask, store: Store, gguf: Path) -> None:
    told = imported(ask, gguf)
    record = store.get_import(told["sha256"])
    assert record is not None
    (manifest,) = store.find_manifests("model", told["base"])
    plan = samples.plan().model_copy(
        update={
            "imported": told["sha256"],
            "envelope": samples.plan().envelope.model_copy(update={"types": ("Q4_K_M",)}),
        }
    )
    other = Manifest.of("calibration", "texts", ())
    inputs = Inputs(model=manifest, calibration=other, evaluation=other, heldout=other)
    assert required_import(store, plan, inputs) == record
    assert required_import(store, plan.model_copy(update={"imported": None}), inputs) is None

    def refused(said: str, changed: Plan = plan, there: Inputs = inputs) -> None:
        with pytest.raises(InputError, match=said):
            required_import(store, changed, there)

    refused("is not registered", plan.model_copy(update={"imported": "0" * 64}))
    refused(
        "envelope.types: is not its type",
        plan.model_copy(update={"envelope": plan.envelope.model_copy(update={"types": ("Q8_0",)})}),
    )
    refused(
        "does not load it; found vllm",
        plan.model_copy(update={"envelope": plan.envelope.model_copy(update={"runtime": "vllm"})}),
    )
    refused(
        "model: is not the one that it was registered as made from", there=inputs.model_copy(update={"model": other})
    )
    file = store.artifacts.local_path(told["sha256"])
    assert file is not None
    file.unlink()
    refused("an artifact is missing")


def test_what_is_imported_is_checked_byte_by_byte_and_tensor_by_tensor(
    ask: Ask, store: Store, gguf: Path, tmp_path: Path
) -> None:
    told = store.get_import(imported(ask, gguf)["sha256"])
    assert told is not None
    other = Manifest.of("model", "m", ())
    recipe = recipe_of_import(
        told, samples.plan(), Inputs(model=other, calibration=other, evaluation=other, heldout=other)
    )
    artifact = artifact_of_import(told, recipe, "theirs.gguf")
    assert list(imported_faults(recipe, artifact, gguf)) == []
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(gguf.read_bytes()[:-1] + b"\0\0")
    assert [fault.what for fault in imported_faults(recipe, artifact, damaged)] == ["is not the file that was imported"]
    retyped = artifact.model_copy(update={"tensors": {**artifact.tensors, "token_embd.weight": "Q2_K"}})
    assert [fault.where for fault in imported_faults(recipe, retyped, gguf)] == ["token_embd.weight"]
    with pytest.raises(InputError, match="nothing to make it again with"):
        require_replayable(recipe)
