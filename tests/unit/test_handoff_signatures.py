"""signatures/ in a package: written whole, checked against the package's own owners or the reader's, every change found and named."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from factories import made_package
from signers import Team, made_signer, made_team, owners_text, signed

from quantplay.digest import digest_of, digest_of_bytes, digest_of_file
from quantplay.errors import InputError, OutOfSpace
from quantplay.handoff import pack, signatures
from quantplay.handoff.contents import PackageContents
from quantplay.handoff.layout import json_bytes
from quantplay.handoff.pack import write_package
from quantplay.handoff.signatures import write_signatures
from quantplay.handoff.verify import VerifyReport, verify
from quantplay.plan_file import plan_from_text
from quantplay.records import PackageRef, SignOff
from quantplay.signoff import read_owners

RUN = "9b1de0aa-0f3c-4b3e-8c57-5d1f3a2b4c6d"


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Team:
    return made_team(tmp_path_factory.mktemp("team"))


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> PackageContents:
    """Of a plan in profile production."""
    made = made_package(tmp_path_factory.mktemp("run"))
    text = made.plan_text.replace("profile: internal", "profile: production")
    plan = plan_from_text(text, Path("plan.yaml")).plan
    assert plan is not None
    return replace(made, plan=plan, plan_text=text)


@pytest.fixture(scope="module")
def unsigned(contents: PackageContents, tmp_path_factory: pytest.TempPathFactory) -> PackageRef:
    return write_package(contents, tmp_path_factory.mktemp("unsigned") / "package")


def about(contents: PackageContents, manifest: str, run: str = RUN) -> dict[str, Any]:
    return {
        "run": run,
        "gate": contents.plan.gate_digest(),
        "decision": contents.decision.digest(),
        "manifest": manifest,
    }


@pytest.fixture(scope="module")
def approvals(team: Team, contents: PackageContents, unsigned: PackageRef) -> tuple[SignOff, ...]:
    what = about(contents, unsigned.manifest)
    return (
        signed(team, "ml_engineer", **what), signed(team, "product_owner", **what, comment="fine by me"),
        signed(team, "product_owner", stage="lock", **what),
    )  # fmt: skip


@pytest.fixture
def package(unsigned: PackageRef, tmp_path: Path) -> PackageRef:
    """A copy without signatures."""
    folder = shutil.copytree(unsigned.path, tmp_path / "package")
    archive = shutil.copy(str(unsigned.archive), tmp_path / "package.tar")
    return unsigned.model_copy(update={"path": str(folder), "archive": str(archive)})


@pytest.fixture
def locked(package: PackageRef, team: Team, approvals: tuple[SignOff, ...]) -> PackageRef:
    write_signatures(package, RUN, approvals, read_owners(team.owners))
    return package


def places(report: VerifyReport) -> str:
    return " | ".join(str(problem) for problem in report.problems)


def test_three_approvals_make_a_production_package_whole(locked: PackageRef, team: Team) -> None:
    for path in (Path(locked.path), Path(str(locked.archive))):
        report = verify(path)
        assert report.ok, places(report)
        assert "consistency, not identity" in report.checked[-1]
        assert "ml_engineer, gate" in report.checked[-1]
        assert any("--owners" in line for line in report.not_proven)
        known = verify(path, owners=str(team.owners))
        assert known.ok, places(known)
        assert known.checked[-1].endswith("identity")
        assert not any("--owners" in line or "rewrote the package" in line for line in known.not_proven)


def test_the_manifest_is_what_was_signed_and_does_not_change(locked: PackageRef, unsigned: PackageRef) -> None:
    assert digest_of_file(Path(locked.path) / "manifest.json") == unsigned.manifest
    names = {path.name for path in Path(locked.path, "signatures").iterdir()}
    assert names == {
        "owners.yaml", "allowed_signers", "signoffs.json", "1-gate-ml_engineer.txt", "1-gate-ml_engineer.sig",
        "2-gate-product_owner.txt", "2-gate-product_owner.sig", "3-lock-product_owner.txt", "3-lock-product_owner.sig",
    }  # fmt: skip


def test_openssh_alone_checks_it_as_the_readme_says(locked: PackageRef) -> None:
    readme = Path(locked.path, "README.md").read_text()
    assert "quantplay verify . --owners" in readme
    start = readme.index("    ssh-keygen -Y verify")
    command = readme[start : readme.index("\n\n", start)].replace("PERSON", '"Grace Hopper"')
    done = subprocess.run(["sh", "-c", command], cwd=locked.path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Good" in done.stdout
    assert locked.manifest in Path(locked.path, "signatures", "3-lock-product_owner.txt").read_text()


def test_an_unsigned_production_package_says_what_is_missing(package: PackageRef) -> None:
    report = verify(Path(package.path))
    assert "the package is not signed" in places(report)
    assert "--role product_owner --approve" in places(report)
    assert verify(Path(package.path), signatures_due=False).ok


def test_an_internal_package_needs_none_and_proves_nobodys_approval(tmp_path: Path, team: Team) -> None:
    """A production package could be written again as an internal one: who asks for proof gets none."""
    contents = made_package(tmp_path / "run")
    ref = write_package(contents, tmp_path / "package")
    assert verify(Path(ref.path)).ok
    report = verify(Path(ref.path), owners=str(team.owners))
    assert "--owners asks for proof of who approved the package; this package carries none" in places(report)
    what = about(contents, ref.manifest)
    approvals = (signed(team, "ml_engineer", **what), signed(team, "product_owner", stage="lock", **what))
    write_signatures(ref, RUN, approvals, read_owners(team.owners))
    assert verify(Path(ref.path)).ok
    report = verify(Path(ref.path), owners=str(team.owners))
    assert "the approval of this decision by product_owner is missing" in places(report)


@pytest.mark.parametrize("name", ["owners.yaml", "allowed_signers", "1-gate-ml_engineer.txt", "signoffs.json"])
@pytest.mark.parametrize("put", ["pipe", "link", "folder", "nothing"])
def test_what_is_no_plain_file_is_named_and_not_read(
    locked: PackageRef, team: Team, tmp_path: Path, name: str, put: str
) -> None:
    path, secret = Path(locked.path, "signatures", name), tmp_path / "secret"
    secret.write_text("a text of the reader's own")
    path.unlink()
    if put == "pipe":
        os.mkfifo(path)
    elif put == "link":
        path.symlink_to(secret)
    elif put == "folder":
        path.mkdir()
    for owners in (None, str(team.owners)):
        report = verify(Path(locked.path), owners=owners)
        assert f"signatures/{name}: " in places(report)
        assert "own" not in places(report).replace("owners", "")


@pytest.mark.parametrize(
    ("left_out", "expected"), [(0, "by ml_engineer"), (1, "by product_owner"), (2, "package by product_owner")]
)
def test_each_approval_is_needed(
    package: PackageRef, team: Team, approvals: tuple[SignOff, ...], left_out: int, expected: str
) -> None:
    rest = tuple(one for number, one in enumerate(approvals) if number != left_out)
    write_signatures(package, RUN, rest, read_owners(team.owners))
    assert f"{expected} is missing" in places(verify(Path(package.path)))


def test_a_rejection_in_force_and_signatures_over_something_else(
    package: PackageRef, team: Team, contents: PackageContents, approvals: tuple[SignOff, ...]
) -> None:
    owners, what = read_owners(team.owners), about(contents, package.manifest)
    no = signed(team, "product_owner", stage="lock", verdict="reject", **what)
    write_signatures(package, RUN, (*approvals, no), owners)
    assert "Grace Hopper as product_owner did not approve this package" in places(verify(Path(package.path)))
    other = signed(team, "product_owner", stage="lock", **(what | {"manifest": "0" * 64}))
    write_signatures(package, RUN, (*approvals[:2], other), owners)
    assert "names another manifest" in places(verify(Path(package.path)))
    elsewhere = signed(team, "ml_engineer", **(what | {"decision": "0" * 64}))
    write_signatures(package, RUN, (elsewhere, *approvals[1:]), owners)
    assert "about another decision" in places(verify(Path(package.path)))


def test_a_text_that_hides_loosened_tolerances_is_no_approval(
    package: PackageRef, team: Team, contents: PackageContents, approvals: tuple[SignOff, ...]
) -> None:
    owners, what = read_owners(team.owners), about(contents, package.manifest)
    other = signed(team, "product_owner", gate_changes=4, **what)
    write_signatures(package, RUN, (approvals[0], other, approvals[2]), owners)
    found = places(verify(Path(package.path)))
    assert "2-gate-product_owner.sig: names another number of gate changes than the decision" in found
    assert "the approval of this decision by product_owner is missing" in found


def test_the_latest_that_holds_counts_as_in_the_run(
    package: PackageRef, team: Team, contents: PackageContents, approvals: tuple[SignOff, ...], tmp_path: Path
) -> None:
    """Who signed last with a key that is not known any more takes nothing away; it is told as history."""
    ada = made_signer(tmp_path, "ada@example.com")
    before = replace(team, ada=ada, owners=tmp_path / "before.yaml")
    before.owners.write_text(owners_text((ada, "ml_engineer"), (team.grace, "product_owner")))
    old = signed(before, "ml_engineer", verdict="reject", **about(contents, package.manifest))
    write_signatures(package, RUN, (*approvals[:2], old, approvals[2]), read_owners(team.owners))
    report = verify(Path(package.path))
    assert report.ok, places(report)
    assert "That ada@example.com once wrote `reject` (signatures/3-gate-ml_engineer.sig)" in " ".join(report.not_proven)


def test_an_earlier_rejection_under_another_run_stays_visible_and_does_not_count(
    package: PackageRef, team: Team, contents: PackageContents, approvals: tuple[SignOff, ...]
) -> None:
    earlier = signed(
        team, "product_owner", verdict="reject", **about(contents, package.manifest, run=RUN.replace("9", "8"))
    )
    write_signatures(package, RUN, (earlier, *approvals), read_owners(team.owners))
    assert verify(Path(package.path)).ok
    assert "verdict: reject" in Path(package.path, "signatures", "1-gate-product_owner.txt").read_text()


def test_the_readers_own_file_tells_who_it_was(locked: PackageRef, team: Team, tmp_path: Path) -> None:
    """A forger with keys of his own makes a consistent package; only the reader's file finds him."""
    eve = made_signer(tmp_path, "Grace Hopper")
    mine = tmp_path / "mine.yaml"
    mine.write_text(owners_text((team.ada, "ml_engineer"), (eve, "product_owner")))
    report = verify(Path(locked.path), owners=str(mine))
    assert "2-gate-product_owner.sig: the signature does not verify with a key of Grace Hopper" in places(report)
    assert "3-lock-product_owner.sig" in places(report)
    mine.write_text(owners_text((team.ada, "ml_engineer"), (team.grace, "on_call")))
    assert "Grace Hopper is not product_owner" in places(verify(Path(locked.path), owners=str(mine)))
    mine.write_text(owners_text((team.grace, "product_owner")))
    assert "ada@example.com is not in" in places(verify(Path(locked.path), owners=str(mine)))
    mine.write_text("nonsense")
    with pytest.raises(InputError, match="not an owners file"):
        verify(Path(locked.path), owners=str(mine))


def test_every_byte_flipped_every_file_missing_or_added_is_named(locked: PackageRef) -> None:
    folder = Path(locked.path, "signatures")
    for path in sorted(folder.iterdir()):
        before = path.read_bytes()
        where = f"signatures/{path.name}"
        for position in {0, 1, len(before) // 3, len(before) // 2, len(before) - 1}:
            path.write_bytes(before[:position] + bytes([before[position] ^ 1]) + before[position + 1 :])
            _, faults = signatures.read_list(Path(locked.path))
            assert [fault.where for fault in faults] == [where], position
        path.unlink()
        _, faults = signatures.read_list(Path(locked.path))
        assert faults[0].where == where
        assert "missing" in faults[0].what
        path.write_bytes(before)
    (folder / "extra").write_text("x")
    (folder / "deep").mkdir()
    (folder / "deep" / "signoffs.json").write_text("x")
    (folder / "link").symlink_to("/etc/passwd")
    found = places(verify(Path(locked.path)))
    for name in ("extra: added", "deep/signoffs.json: added", "link: not a plain file"):
        assert f"signatures/{name}" in found


def sealed(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """What a forger does: a new list with its own checksum over the changed files."""
    body = json.loads((folder / "signoffs.json").read_bytes())
    body.pop("checksum")
    change(body)
    files = {path.name: digest_of_bytes(path.read_bytes()) for path in folder.iterdir() if path.name != "signoffs.json"}
    body["files"] = dict(sorted(files.items()))
    (folder / "signoffs.json").write_bytes(json_bytes(body | {"checksum": digest_of(body)}))


FORGERIES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a verdict turned in the record": (
        lambda f: sealed(f, lambda b: b["signoffs"][2].update(verdict="rework")), "record and the signed text name another verdict",
    ),
    "a text turned": (
        lambda f: (
            (f / "1-gate-ml_engineer.txt").write_text((f / "1-gate-ml_engineer.txt").read_text().replace("approve", "reject")),
            sealed(f, lambda b: None),
        ),
        "1-gate-ml_engineer.txt: is not what signoffs.json holds",
    ),
    "text and record turned": (
        lambda f: (
            (f / "1-gate-ml_engineer.txt").write_text((f / "1-gate-ml_engineer.txt").read_text().replace("approve", "reject")),
            sealed(f, lambda b: b["signoffs"][0].update(verdict="reject", text=(f / "1-gate-ml_engineer.txt").read_text())),
        ),
        "1-gate-ml_engineer.sig: the signature does not verify",
    ),
    "another person": (
        lambda f: sealed(f, lambda b: b["signoffs"][0].update(person="Grace Hopper")), "record and the signed text name another person",
    ),
    "a role for the other": (
        lambda f: ((f / "owners.yaml").write_text((f / "owners.yaml").read_text().replace("ml_engineer", "on_call")), sealed(f, lambda b: None)),
        "is not ml_engineer in signatures/owners.yaml",
    ),
    "more in allowed_signers": (
        lambda f: ((f / "allowed_signers").write_text("* ssh-ed25519 AAAA\n"), sealed(f, lambda b: None)),
        "allowed_signers: does not say what owners.yaml says",
    ),
    "an approval for a run of its own": (lambda f: sealed(f, lambda b: b.update(run="x")), "is missing"),
    "an approval cut out": (
        lambda f: ((f / "3-lock-product_owner.sig").unlink(), sealed(f, lambda b: None)), "3-lock-product_owner.sig: missing",
    ),
    "a list of nothing": (
        lambda f: ([path.unlink() for path in f.glob("*-*")], sealed(f, lambda b: b.update(signoffs=[]))), "is missing",
    ),
    "no JSON": (lambda f: (f / "signoffs.json").write_text("[" * 100_000), "signoffs.json: is no JSON"),
    "no object": (lambda f: (f / "signoffs.json").write_text("7"), "signoffs.json: changed"),
    "a private key in the owners": (
        lambda f: ((f / "owners.yaml").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n"), sealed(f, lambda b: None)),
        "holds a private key",
    ),
    "the folder a link": (lambda f: (f.rename(f.with_name("s")), f.symlink_to("s")), "not a plain"),
}  # fmt: skip


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forgery_is_found(locked: PackageRef, name: str) -> None:
    forge, expected = FORGERIES[name]
    forge(Path(locked.path, "signatures"))
    assert expected in places(verify(Path(locked.path)))


def test_writing_again_changes_nothing_and_mends_what_a_kill_left(
    locked: PackageRef, team: Team, approvals: tuple[SignOff, ...], tmp_path: Path
) -> None:
    owners = read_owners(team.owners)
    archive, folder = Path(str(locked.archive)), Path(locked.path)
    before = (archive.stat().st_ino, (folder / "signatures").stat().st_ino)
    write_signatures(locked, RUN, approvals, owners)
    assert (archive.stat().st_ino, (folder / "signatures").stat().st_ino) == before
    whole = archive.read_bytes()
    archive.unlink()
    write_signatures(locked, RUN, approvals, owners)
    assert archive.read_bytes() == whole
    shutil.rmtree(folder / "signatures")
    write_signatures(locked, RUN, approvals, owners)
    assert verify(folder).ok
    assert archive.read_bytes() == whole
    assert sorted(path.name for path in tmp_path.iterdir()) == ["package", "package.tar"]


def test_killed_at_any_step_it_is_whole_or_unsigned_and_can_be_finished(
    package: PackageRef, team: Team, approvals: tuple[SignOff, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    owners = read_owners(team.owners)
    steps = ("flush_tree", "flush", "write_tar")
    for step in steps:

        def killed(*_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(signatures, step, killed)
            with pytest.raises(KeyboardInterrupt):
                write_signatures(package, RUN, approvals, owners)
        report = verify(Path(package.path))
        assert report.ok or "not signed" in places(report)
        assert verify(Path(package.path), signatures_due=False).ok
    write_signatures(package, RUN, approvals, owners)
    for path in (package.path, str(package.archive)):
        assert verify(Path(path)).ok


def test_a_full_disk_leaves_the_package_as_it_was(
    package: PackageRef, team: Team, approvals: tuple[SignOff, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    archive = Path(str(package.archive)).read_bytes()
    monkeypatch.setattr(signatures, "flush_tree", full)
    with pytest.raises(OutOfSpace):
        write_signatures(package, RUN, approvals, read_owners(team.owners))
    assert not Path(package.path, "signatures").exists()
    assert Path(str(package.archive)).read_bytes() == archive
    assert pack.staging is signatures.staging
