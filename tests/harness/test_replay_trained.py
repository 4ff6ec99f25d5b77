"""The package of a trained artifact carries the weights it was rounded from, and replays from them."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from signers import made_signer, owners_text, signed_business_case

from benchmarks.replay_package import made_contents, with_artifact
from quantplay.digest import digest_of_file
from quantplay.errors import InputError, IntegrityError
from quantplay.evalset.manifests import manifest_of_files
from quantplay.handoff.contents import PackageContents
from quantplay.handoff.pack import write_package
from quantplay.handoff.replay import replay
from quantplay.handoff.signatures import write_signatures
from quantplay.handoff.verify import verify
from quantplay.plan_file import plan_from_text
from quantplay.plays.pin import Paths, Pinned
from quantplay.plays.ptq import quantize
from quantplay.plays.qat import export, grid_recipe
from quantplay.quantizers import compressed_tensors
from quantplay.records import Artifact, CurvePoint, Training, TrainingSettings
from quantplay.settings import Settings, settings
from quantplay.signoff import read_owners
from quantplay.store.artifacts import ArtifactStore

pytestmark = pytest.mark.slow
CASE = """
business_case: {requests_per_day: 1000, tokens_per_request: 100, serving_cost_per_million_tokens: 1, training_cost: 10, months: 6}
"""


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> PackageContents:
    folder = tmp_path_factory.mktemp("made")
    return trained_contents(folder, made_contents(folder, settings().cache))


def trained_contents(folder: Path, made: PackageContents) -> PackageContents:
    """As after play 6: the pilot's weights moved a little, rounded to the types of the artifact of `made`."""
    model = made.sources["model"]["model.safetensors"]
    random = np.random.default_rng(1)
    weights = {
        name: one + random.normal(0, 1e-3, one.shape).astype(np.float32) for name, one in load_file(model).items()
    }
    save_file(weights, folder / "trained.safetensors", metadata={"format": "pt"})
    trained = {"trained": digest_of_file(folder / "trained.safetensors")}
    recipe = grid_recipe(made.recipe, made.artifact).model_copy(update=trained)
    calibration, nothing = made.sources["calibration"]["calibration.jsonl"], folder / "none"
    paths = Paths(
        model=model.parent, calibration=calibration, gate=nothing, dev=nothing, heldout=nothing, tasks=(), allow_code=()
    )
    artifact = export(
        recipe, Pinned(inputs=made.inputs, paths=paths), weights=folder / "trained.safetensors",
        reference=folder / "reference.gguf", out=folder / f"trained{made.artifact_file.suffix}", cache=settings().cache, scratch=folder,
    )  # fmt: skip
    texts = {"training.jsonl": calibration}
    text = made.plan_text + CASE
    plan = plan_from_text(text, Path("plan.yaml")).plan
    assert plan is not None
    changed = replace(
        made, plan=plan, plan_text=text, recipe=recipe, trained_weights=folder / "trained.safetensors",
        training=training_of(made, artifact, folder / "trained.safetensors"),
        inputs=made.inputs.model_copy(update={"training": manifest_of_files("training", texts, "training.jsonl")}),
        sources={**made.sources, "training": texts},
    )  # fmt: skip
    after = with_artifact(changed, artifact, folder / f"trained{made.artifact_file.suffix}")
    return replace(after, attempts=(*made.attempts, *after.attempts))


def training_of(made: PackageContents, artifact: Artifact, weights: Path) -> Training:
    """The record of a training that ended in these weights."""
    texts = manifest_of_files("training", {"training.jsonl": made.sources["calibration"]["calibration.jsonl"]}, "")
    dev = next(file.sha256 for file in made.inputs.evaluation.files if file.path == "dev.jsonl")
    return Training(
        artifact=made.artifact.sha256, model=made.inputs.model.content, data=texts.content, dev=dev,
        settings=TrainingSettings(steps=1, learning_rate=1e-4), precision="float32", device="cpu", kinds=artifact.tensors,
        texts=1, tokens=100, tokens_seen=100,
        curve=tuple(CurvePoint(step=step, loss=0.1, dev_kl_nats=0.1 / (1 + step), dev_top1=0.9) for step in (0, 1)),
        steps_done=1, chosen_step=1, stopped_early=False, weights=digest_of_file(weights),
        size_bytes=weights.stat().st_size, seconds=1.0, peak_resident_bytes=1,
    )  # fmt: skip


@pytest.fixture
def package(contents: PackageContents, tmp_path: Path) -> Path:
    return signed_package(contents, tmp_path)


def signed_package(contents: PackageContents, tmp_path: Path) -> Path:
    """Signed by the engineering manager, or nobody would replay it."""
    package = write_package(contents, tmp_path / "package")
    mary, owners = made_signer(tmp_path / "mary", "mary@example.com"), tmp_path / "owners.yaml"
    owners.write_text(owners_text((mary, "engineering_manager")))
    case = contents.plan.business_case
    assert case is not None
    approval = signed_business_case(mary, owners, contents.run, contents.attempts[0].decision, case)
    write_signatures(package, contents.run, [approval], read_owners(owners))
    return Path(package.path)


@pytest.fixture
def empty(tmp_path: Path) -> Settings:
    home = tmp_path / "home"
    return replace(settings(), home=home, artifacts_url=(home / "artifacts").as_uri(), database_url=None)


def test_the_same_bytes_come_out_of_the_package_alone(
    package: Path, contents: PackageContents, empty: Settings
) -> None:
    assert verify(package).ok
    report = replay(package, empty)
    assert report.identical
    assert report.made == contents.artifact.sha256
    assert [step.name for step in report.steps][1:] == [
        "convert the trained weights",
        "importance matrix and quantize",
    ]


def test_a_trained_folder_comes_out_of_its_package_again(tmp_path: Path, empty: Settings) -> None:
    made = made_contents(tmp_path, settings().cache)
    paths = Paths(
        model=made.sources["model"]["model.safetensors"].parent, calibration=made.sources["calibration"]["calibration.jsonl"],
        gate=tmp_path, dev=tmp_path, heldout=tmp_path, tasks=(), allow_code=(),
    )  # fmt: skip
    recipe = compressed_tensors.build_recipe(made.plan, "W4A16", made.inputs, threads=1)
    folder = quantize(
        recipe,
        Pinned(inputs=made.inputs, paths=paths),
        reference=tmp_path / "reference.gguf",
        out=tmp_path / "short.tar",
    )
    short = with_artifact(replace(made, recipe=recipe), folder, tmp_path / "short.tar")
    contents = trained_contents(tmp_path, short)
    assert contents.artifact.sha256 != folder.sha256
    package = signed_package(contents, tmp_path)
    report = verify(package)
    assert report.ok, report.problems
    again = replay(package, empty)
    assert (again.identical, again.made) == (True, contents.artifact.sha256)


def test_weights_that_are_not_in_the_sources_come_from_the_artifact_store(
    package: Path, contents: PackageContents, empty: Settings, tmp_path: Path
) -> None:
    elsewhere = Path(shutil.copytree(package / "sources", tmp_path / "elsewhere"))
    weights = elsewhere / "trained" / "model.safetensors"
    weights.write_bytes(b"other")
    with pytest.raises(IntegrityError, match="not the trained weights the recipe names"):
        replay(package, empty, sources=elsewhere)
    weights.unlink()
    with pytest.raises(InputError, match="weights this artifact was rounded from are not here"):
        replay(package, empty, sources=elsewhere)
    assert contents.trained_weights is not None
    ArtifactStore(empty.artifacts_url).put_file(contents.trained_weights)
    assert replay(package, empty, sources=elsewhere).identical


def test_a_package_with_other_trained_weights_does_not_verify(package: Path) -> None:
    with (package / "sources" / "trained" / "model.safetensors").open("ab") as file:
        file.write(b" ")
    report = verify(package, signatures_due=False)
    assert "sources/trained/model.safetensors" in {fault.where for fault in report.problems}


def test_a_trained_recipe_without_its_weights_is_not_packed(contents: PackageContents, tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="trained weights the recipe names are not here"):
        write_package(replace(contents, trained_weights=None), tmp_path / "package")
