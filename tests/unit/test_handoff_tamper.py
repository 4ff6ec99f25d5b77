"""Fraud and accident: whatever changes in a package is found and the file named, or needs a digest that was kept elsewhere."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from factories import gguf_bytes, made_package
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quantplay.digest import digest_of_bytes
from quantplay.errors import Fault
from quantplay.gate import decide
from quantplay.handoff.apart import verify_apart
from quantplay.handoff.contents import Attempt, PackageContents
from quantplay.handoff.manifest import PackageManifest, compare, manifest_of, read_manifest
from quantplay.handoff.pack import write_package
from quantplay.handoff.verify import VerifyReport, verify
from quantplay.plan_file import plan_from_text
from quantplay.records import Evaluation, PackageRef


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> PackageContents:
    return made_package(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def ref(contents: PackageContents, tmp_path_factory: pytest.TempPathFactory) -> PackageRef:
    return write_package(contents, tmp_path_factory.mktemp("packed") / "package")


@pytest.fixture(scope="module")
def shared(ref: PackageRef, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy whose files are damaged and put right again."""
    return Path(shutil.copytree(ref.path, tmp_path_factory.mktemp("shared") / "package"))


@pytest.fixture
def folder(ref: PackageRef, tmp_path: Path) -> Path:
    """A copy to damage for good."""
    return Path(shutil.copytree(ref.path, tmp_path / "package"))


def names_of(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def places(report: VerifyReport) -> str:
    return " | ".join(str(problem) for problem in report.problems)


def named(report: VerifyReport) -> set[str]:
    return {problem.where for problem in report.problems}


# --- accidents -------------------------------------------------------------------------------------------------------


@given(data=st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_byte_flipped_in_any_file_is_found_and_the_file_is_named(shared: Path, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(names_of(shared)))
    path = shared / name
    whole = path.read_bytes()
    position = data.draw(st.integers(0, len(whole) - 1))
    flipped = whole[position] ^ data.draw(st.integers(1, 255))
    path.write_bytes(whole[:position] + bytes([flipped]) + whole[position + 1 :])
    try:
        report = verify(shared)
        assert name in named(report), f"{name}, byte {position} as {flipped}: {places(report)}"
    finally:
        path.write_bytes(whole)


def test_every_single_byte_of_the_manifest_counts(shared: Path) -> None:
    path, dice = shared / "manifest.json", random.Random(5)
    whole = path.read_bytes()
    try:
        for position in range(len(whole)):
            flipped = whole[position] ^ dice.randint(1, 255)
            path.write_bytes(whole[:position] + bytes([flipped]) + whole[position + 1 :])
            fault = read_manifest(shared)
            assert isinstance(fault, Fault), f"byte {position} as {flipped}"
            assert fault.where == "manifest.json"
    finally:
        path.write_bytes(whole)
    assert verify(shared).ok


def test_each_file_cut_short_emptied_grown_missing_or_renamed_is_named(shared: Path) -> None:
    manifest = read_manifest(shared)
    assert isinstance(manifest, PackageManifest)
    for name in names_of(shared):
        path = shared / name
        whole = path.read_bytes()
        for damaged in (whole[:-1], b"", whole + b"\n"):
            path.write_bytes(damaged)
            found = [read_manifest(shared)] if name == "manifest.json" else compare(shared, manifest)
            assert [fault.where for fault in found if isinstance(fault, Fault)] == [name]
        path.write_bytes(whole)
        path.rename(path.with_name(path.name + "x"))
        found = [read_manifest(shared)] if name == "manifest.json" else compare(shared, manifest)
        assert {name} <= {fault.where for fault in found if isinstance(fault, Fault)} <= {name, name + "x"}
        path.with_name(path.name + "x").rename(path)
    assert verify(shared).ok


def as_link(path: Path) -> None:
    path.rename(path.parent.parent / f"{path.name}.elsewhere")
    path.symlink_to(path.parent.parent / f"{path.name}.elsewhere")


def as_endless_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def as_loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


def as_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def as_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("become", [as_link, as_endless_link, as_loop, as_folder, as_pipe])
@pytest.mark.parametrize(
    "name", ["manifest.json", "plan.yaml", "recipe.json", "items.parquet", "artifact", "sources/evaluation/gate.jsonl"]
)
def test_a_file_replaced_by_something_else_is_named_and_not_followed(
    folder: Path, name: str, become: Callable[[Path], None]
) -> None:
    path = next((folder / name).iterdir()) if name == "artifact" else folder / name
    become(path)
    report = verify(folder)
    assert path.relative_to(folder).as_posix() in named(report), places(report)


def test_a_folder_replaced_by_a_link_to_the_same_files_is_found(folder: Path, tmp_path: Path) -> None:
    (folder / "sources").rename(tmp_path / "sources")
    (folder / "sources").symlink_to(tmp_path / "sources")
    found = places(verify(folder))
    assert "sources: added: not listed in the manifest, and not a plain file" in found
    assert "sources/model/config.json: missing" in found


def test_names_from_a_package_can_not_move_the_cursor(folder: Path) -> None:
    (folder / "evil\x1b[2J\nname").write_text("x")
    (folder / os.fsdecode(b"not-utf8-\xff")).write_text("x")
    report = verify_apart(folder)
    assert len(report.problems) == 2
    assert places(report).isprintable()
    assert "evil\\x1b[2J" in places(report)


# --- fraud -----------------------------------------------------------------------------------------------------------


def judged_again(contents: PackageContents, evaluation: Evaluation) -> PackageContents:
    """What a careful forger does: the decision and everything that follows from the new records."""
    plan = contents.plan
    titles = {name: info.title for name, info in plan.evaluation.slices.items()}
    decision = decide(
        plan.gate, contents.baseline, evaluation, envelope=plan.envelope, artifact=contents.artifact, attempt=1, titles=titles
    )  # fmt: skip
    attempts = (Attempt.of(contents.artifact, evaluation, decision),)
    return replace(contents, evaluation=evaluation, decision=decision, attempts=attempts)


def with_better_scores(contents: PackageContents, _: Path) -> PackageContents:
    arm = contents.evaluation.candidate
    better = arm.model_copy(update={"items": tuple(one.model_copy(update={"score": 1.0}) for one in arm.items)})
    return judged_again(contents, contents.evaluation.model_copy(update={"candidate": better}))


def with_a_looser_gate(contents: PackageContents, _: Path) -> PackageContents:
    text = contents.plan_text.replace("max_drop: 9.0", "max_drop: 12.0")
    assert text != contents.plan_text
    plan = plan_from_text(text, Path("plan.yaml")).plan
    assert plan is not None
    return judged_again(replace(contents, plan=plan, plan_text=text), contents.evaluation)


def with_another_artifact(contents: PackageContents, folder: Path) -> PackageContents:
    data = gguf_bytes({"general.name": "backdoor", "quantplay.recipe": contents.recipe.digest()})
    (folder / "forged.gguf").write_bytes(data)
    sha256 = digest_of_bytes(data)
    artifact = contents.artifact.model_copy(update={"sha256": sha256, "size_bytes": len(data)})
    arm = contents.evaluation.candidate.model_copy(update={"model": sha256})
    forged = replace(contents, artifact=artifact, artifact_file=folder / "forged.gguf")
    return judged_again(forged, contents.evaluation.model_copy(update={"artifact": sha256, "candidate": arm}))


FORGERS = [with_better_scores, with_a_looser_gate, with_another_artifact]


@pytest.mark.parametrize("forge", FORGERS)
def test_a_package_rewritten_as_a_whole_needs_a_digest_kept_elsewhere(
    contents: PackageContents,
    ref: PackageRef,
    tmp_path: Path,
    forge: Callable[[PackageContents, Path], PackageContents],
) -> None:
    forged = write_package(forge(contents, tmp_path), tmp_path / "package")
    alone = verify(Path(forged.path))
    assert alone.ok, places(alone)  # consistent in itself: nothing in it can tell
    assert "nobody rewrote the package as a whole" in alone.not_proven[0]
    for path in (Path(forged.path), Path(str(forged.archive))):
        exposed = verify(path, manifest_digest=ref.manifest)
        assert [(fault.where, fault.what) for fault in exposed.problems] == [
            ("manifest.json", "is not the manifest whose digest you gave")
        ]


@pytest.mark.parametrize(
    ("forge", "file", "contradiction"),
    [
        (with_better_scores, "items.parquet", "decision.json: slices"),
        (with_a_looser_gate, "plan.yaml", "plan.yaml: says something else than plan.json"),
        (with_another_artifact, "artifact/support-desk-Q4_K_M.gguf", "has another size than recorded"),
    ],
)
def test_one_file_swapped_and_the_manifest_made_anew_contradicts_the_records(
    contents: PackageContents, folder: Path, tmp_path: Path, forge: Callable[[PackageContents, Path], PackageContents],
    file: str, contradiction: str,
) -> None:  # fmt: skip
    forged = write_package(forge(contents, tmp_path), tmp_path / "forged")
    shutil.copyfile(Path(forged.path) / file, folder / file)
    (folder / "manifest.json").write_bytes(manifest_of(folder, contents.run).to_bytes())
    assert contradiction in places(verify(folder))


@pytest.mark.parametrize("forge", FORGERS)
def test_the_records_of_another_run_do_not_fit_this_one(
    contents: PackageContents, folder: Path, tmp_path: Path, forge: Callable[[PackageContents, Path], PackageContents]
) -> None:
    """Any subset of forged files short of all of them is found, whatever the manifest says."""
    forged = Path(write_package(forge(contents, tmp_path), tmp_path / "forged").path)
    differing = [name for name in names_of(folder) if (folder / name).read_bytes() != (forged / name).read_bytes()]
    differing.remove("manifest.json")
    dice = random.Random(3)
    for size in range(1, len(differing)):
        chosen = dice.sample(differing, size)
        mixed = Path(shutil.copytree(folder, tmp_path / f"mixed-{size}"))
        for name in chosen:
            shutil.copyfile(forged / name, mixed / name)
        (mixed / "manifest.json").write_bytes(manifest_of(mixed, contents.run).to_bytes())
        assert not verify(mixed).ok, chosen
