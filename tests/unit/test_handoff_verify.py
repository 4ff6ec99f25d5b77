"""Verification: accepts what was written, finds every kind of change, and says what it can't prove."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from factories import gguf_bytes, made_package

from quantplay.digest import digest_of_bytes, digest_of_file
from quantplay.errors import InputError
from quantplay.handoff.contents import PackageContents
from quantplay.handoff.layout import json_bytes
from quantplay.handoff.manifest import manifest_of
from quantplay.handoff.pack import write_package
from quantplay.handoff.verify import VerifyReport, verify
from quantplay.records import PackageRef


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> PackageContents:
    return made_package(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def ref(contents: PackageContents, tmp_path_factory: pytest.TempPathFactory) -> PackageRef:
    return write_package(contents, tmp_path_factory.mktemp("packed") / "package")


@pytest.fixture
def folder(ref: PackageRef, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(ref.path, tmp_path / "package"))


def seal(folder: Path) -> None:
    """What a forger does: a new manifest over the changed files."""
    run = json.loads((folder / "manifest.json").read_bytes())["run"]
    (folder / "manifest.json").write_bytes(manifest_of(folder, run).to_bytes())


def edit(path: Path, change: Callable[[Any], None]) -> None:
    body = json.loads(path.read_bytes())
    change(body)
    path.write_bytes(json_bytes(body))


def places(report: VerifyReport) -> str:
    return " | ".join(str(problem) for problem in report.problems)


def test_folder_and_archive_are_accepted(ref: PackageRef) -> None:
    for path in (Path(ref.path), Path(str(ref.archive))):
        report = verify(path, manifest_digest=ref.manifest)
        assert report.ok, places(report)
        assert report.manifest == ref.manifest
        assert report.run == ref.run
        assert len(report.checked) == 10
        assert (
            len(report.not_proven) == 2
        )  # the answers themselves, and the calibration set, which this run did not check


def test_without_the_digest_it_says_what_stays_open(ref: PackageRef) -> None:
    report = verify(Path(ref.path))
    assert report.ok
    assert ref.manifest in report.not_proven[0]


def test_another_digest_is_a_problem(ref: PackageRef) -> None:
    assert "digest you gave" in places(verify(Path(ref.path), manifest_digest="0" * 64))


def test_nothing_there_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no package"):
        verify(tmp_path / "nothing")


def test_every_single_file_is_covered(ref: PackageRef, tmp_path: Path) -> None:
    """One byte changed, and then the file deleted: each is found, for every file."""
    names = [entry.relative_to(ref.path).as_posix() for entry in Path(ref.path).rglob("*") if entry.is_file()]
    assert len(names) > 20
    from quantplay.handoff.manifest import PackageManifest, compare, read_manifest

    folder = Path(shutil.copytree(ref.path, tmp_path / "package"))
    manifest = read_manifest(folder)
    assert isinstance(manifest, PackageManifest)
    for name in names:
        if name == "manifest.json":
            continue
        path = folder / name
        before = path.read_bytes()
        path.write_bytes(bytes([before[0] ^ 1]) + before[1:])
        assert [fault.where for fault in compare(folder, manifest)] == [name]
        path.unlink()
        assert [(fault.where, fault.what) for fault in compare(folder, manifest)] == [(name, "missing")]
        path.write_bytes(before)
    assert compare(folder, manifest) == []


def test_added_files_and_links_are_found(folder: Path) -> None:
    (folder / ".hidden").write_text("x")
    (folder / "sources" / "model" / "extra.py").write_text("x")
    (folder / "etc").symlink_to("/etc")
    (folder / "plan.json").unlink()
    (folder / "plan.json").symlink_to("plan.yaml")
    found = places(verify(folder))
    for name in (".hidden: added", "sources/model/extra.py: added", "etc: added", "plan.json: not a plain file"):
        assert name in found


def test_a_stray_file_among_signatures_is_found(folder: Path) -> None:
    (folder / "signatures").mkdir()
    (folder / "signatures" / "ada.sig").write_text("x")
    assert "signatures/signoffs.json: missing" in places(verify(folder))


FORGERIES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a nicer score in evaluation.json": (
        lambda f: edit(f / "evaluation.json", lambda b: b["scores"]["candidate"]["multi_step"].update(mean=0.999)),
        "evaluation.json: scores",
    ),
    "a nicer number in decision.json": (
        lambda f: edit(f / "decision.json", lambda b: b["slices"][0].update(upper=0.1)), "decision.json: slices[5]: upper",
    ),
    "a looser gate in both plans": (
        lambda f: [
            edit(f / "plan.json", lambda b: b["gate"]["hardest"].update(max_drop=50.0)),
            (f / "plan.yaml").write_text((f / "plan.yaml").read_text().replace("max_drop: 9.0", "max_drop: 50.0")),
        ],
        "another gate",
    ),
    "a looser gate in plan.json alone": (
        lambda f: edit(f / "plan.json", lambda b: b["gate"].update(attempts=2)), "plan.yaml: says something else",
    ),
    "another artifact": (
        lambda f: (f / "artifact" / "support-desk-Q4_K_M.gguf").write_bytes(gguf_bytes({"quantplay.recipe": "0" * 64})),
        "names another recipe",
    ),
    "another recipe": (lambda f: edit(f / "recipe.json", lambda b: b.update(seed=99)), "made by another recipe"),
    "another source file": (
        lambda f: (f / "sources" / "model" / "config.json").write_text("{ }"), "is not the file that inputs.json pins",
    ),
    "an extra source file": (
        lambda f: (f / "sources" / "model" / "extra.json").write_text("{}"), "not pinned by inputs.json",
    ),
    "another pinned digest": (
        lambda f: edit(f / "inputs.json", lambda b: b["heldout"]["files"][0].update(sha256="0" * 64)), "heldout: digest of the files",
    ),
    "a hidden attempt": (lambda f: (f / "attempts.json").write_text("[]"), "not among the attempts"),
    "a nicer report": (
        lambda f: (f / "report.html").write_text((f / "report.html").read_text().replace("points", "micropoints")),
        "report.html: does not say what the records say",
    ),
    "another run": (lambda f: edit(f / "run.json", lambda b: b.update(run="x")), "names another run"),
    "nonsense": (lambda f: (f / "recipe.json").write_text("[" * 100_000), "recipe.json: can't be read"),
    "no object": (lambda f: (f / "baseline.json").write_text("7"), "baseline.json: can't be read"),
    "not parquet": (lambda f: (f / "items.parquet").write_bytes(b"PAR1xxxxPAR1"), "items.parquet: can't be read"),
}  # fmt: skip


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forgery_with_a_new_manifest_contradicts_itself(folder: Path, name: str) -> None:
    forge, expected = FORGERIES[name]
    forge(folder)
    seal(folder)
    report = verify(folder)
    assert not report.ok
    assert expected in places(report), places(report)


def test_changed_answers_contradict_the_decision(contents: PackageContents, folder: Path) -> None:
    """Items forged in favour of the candidate: digests, means and the recomputed decision all disagree."""
    from quantplay.handoff.items_file import write_items

    better = tuple(item.model_copy(update={"score": 1.0}) for item in contents.evaluation.candidate.items)
    arm = contents.evaluation.candidate.model_copy(update={"items": better})
    evaluation = contents.evaluation.model_copy(update={"candidate": arm})
    write_items(folder / "items.parquet", contents.baseline, evaluation, contents.questions)
    seal(folder)
    found = places(verify(folder))
    for part in (
        "evaluation.json: digest",
        "evaluation.json: scores",
        "decision.json: slices",
        "is about another evaluation",
    ):
        assert part in found


def test_a_whole_rewrite_is_exposed_by_the_digest_alone(
    contents: PackageContents, ref: PackageRef, tmp_path: Path
) -> None:
    from dataclasses import replace

    forged = write_package(replace(contents, environment=("numpy==0.0.1",)), tmp_path / "package")
    assert verify(Path(forged.path)).ok
    assert not verify(Path(forged.path), manifest_digest=ref.manifest).ok


def tar_of(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for member, data in members:
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def special(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


@pytest.mark.parametrize(
    ("member", "expected"),
    [
        (special("package/../../evil"), "leaves its folder"),
        (special("/etc/evil"), "leaves its folder"),
        (special("package/..\\evil"), "leaves its folder"),
        (special("package/link", tarfile.SYMTYPE, "/etc/passwd"), "not a plain file"),
        (special("package/link", tarfile.LNKTYPE, "package/manifest.json"), "not a plain file"),
        (special("package/device", tarfile.CHRTYPE), "not a plain file"),
        (special("package/fifo", tarfile.FIFOTYPE), "not a plain file"),
        (special("other/file"), "one top folder"),
        (special("package"), "one top folder"),
        (special("package/manifest.json"), "comes twice"),
        (special("package/manifest.json/inner"), "both a file and a folder"),
    ],
)
def test_a_malicious_archive_writes_nothing_outside(tmp_path: Path, member: tarfile.TarInfo, expected: str) -> None:
    path = tar_of(tmp_path / "evil.tar", (special("package/manifest.json"), b"{}"), (member, b""))
    report = verify(path)
    assert expected in places(report)
    assert sorted(tmp_path.iterdir()) == [path]


def test_a_truncated_or_compressed_archive_is_refused(ref: PackageRef, tmp_path: Path) -> None:
    data = Path(str(ref.archive)).read_bytes()
    (tmp_path / "cut.tar").write_bytes(data[: len(data) // 2])
    (tmp_path / "not.tar").write_bytes(b"hello")
    (tmp_path / "empty.tar").write_bytes(bytes(10240))
    with tarfile.open(tmp_path / "package.tar.gz", "w:gz") as archive:
        archive.add(ref.path, "package")
    for name in ("cut.tar", "not.tar", "empty.tar", "package.tar.gz"):
        report = verify(tmp_path / name)
        assert not report.ok
        assert not report.checked


def test_a_newer_layout_asks_for_a_newer_program(folder: Path) -> None:
    edit(folder / "manifest.json", lambda body: body.update(layout=99))
    assert "install a newer quantplay" in places(verify(folder))


def test_a_package_of_another_version_is_not_held_to_this_ones_wording(folder: Path) -> None:
    edit(folder / "run.json", lambda body: body.update(quantplay="0.0.9"))
    edit(folder / "decision.json", lambda body: body.update(reasons=["said otherwise"]))
    (folder / "report.html").write_text("an older report")
    decision = json.loads((folder / "decision.json").read_bytes())
    edit(folder / "attempts.json", lambda body: body[0].update(decision=decision))
    seal(folder)
    report = verify(folder)
    assert report.ok, places(report)
    assert any("0.0.9" in line for line in report.not_proven)


def test_verifying_changes_nothing(ref: PackageRef) -> None:
    before = {path: digest_of_file(path) for path in Path(ref.path).rglob("*") if path.is_file()}
    verify(Path(ref.path))
    assert before == {path: digest_of_file(path) for path in Path(ref.path).rglob("*") if path.is_file()}


def test_the_manifest_in_bytes_is_its_own_digest(ref: PackageRef) -> None:
    assert digest_of_bytes((Path(ref.path) / "manifest.json").read_bytes()) == ref.manifest
