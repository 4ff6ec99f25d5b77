"""What a pipeline asks before it ships: yes only where everything holds, and each no says what to do."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from factories import made_package
from test_handoff_signatures import approvals, contents, locked, package, team, unsigned  # noqa: F401 - fixtures

from quantplay.cli.release_check import body
from quantplay.handoff.contents import PackageContents
from quantplay.handoff.pack import write_package
from quantplay.live.release_check import ReleaseCheck, check_release, junit
from quantplay.records import PackageRef


def noes(check: ReleaseCheck) -> dict[str, str]:
    return {line.name: line.said for line in check.lines if not line.ok}


def test_a_signed_package_may_be_released_and_tells_what_a_release_needs(
    locked: PackageRef, contents: PackageContents, team  # noqa: F811
) -> None:  # fmt: skip
    for path in (Path(locked.path), Path(str(locked.archive))):
        found = check_release(path, owners=team.owners)
        assert found.ok, noes(found)
        assert [line.name for line in found.lines] == [
            "package",
            "profile",
            "gate",
            "signatures",
            "hardware",
            "way back",
        ]
        facts = found.facts
        assert facts is not None
        assert (facts.artifact, facts.run) == (contents.artifact.sha256, contents.run)
        assert facts.full_precision == contents.baseline.reference.model
        speed = contents.evaluation
        assert facts.decode_ratio == pytest.approx(
            speed.performance.time_per_token_ms.p50 / speed.reference_performance.time_per_token_ms.p50
        )
        assert json.loads(json.dumps(body(found)))["ok"] is True


def test_nobody_vouches_for_signatures_without_an_owners_file(locked: PackageRef) -> None:  # noqa: F811
    found = check_release(Path(locked.path))
    assert noes(found) == {"signatures": "nobody vouches for who signed"}


def test_an_unsigned_or_damaged_package_is_refused(package: PackageRef, locked: PackageRef, team) -> None:  # noqa: F811
    folder = Path(locked.path)
    (folder / "recipe.json").write_bytes((folder / "recipe.json").read_bytes().replace(b"Q4_K_M", b"Q8_0  "))
    damaged = check_release(folder, owners=team.owners)
    assert not damaged.ok
    assert "recipe.json" in noes(damaged)["package"]
    assert damaged.facts is None


def test_an_internal_package_needs_to_be_asked_for(tmp_path: Path, team) -> None:  # noqa: F811
    ref = write_package(made_package(tmp_path / "run"), tmp_path / "package")
    assert "package" in noes(
        check_release(Path(ref.path), owners=team.owners)
    )  # a rewritten production package looks like this
    assert set(noes(check_release(Path(ref.path)))) == {"profile", "signatures"}
    assert check_release(Path(ref.path), internal=True).ok


def test_what_did_not_pass_its_gate_may_not_serve(tmp_path: Path) -> None:
    made = made_package(tmp_path / "run")
    closed = replace(made, decision=made.decision.model_copy(update={"verdict": "close"}))
    ref = write_package(closed, tmp_path / "package")
    found = check_release(Path(ref.path), internal=True)
    assert not found.ok  # its numbers say pass: the decision was forged, or its gate said close
    assert noes(found)


def test_pipelines_read_it_as_junit(locked: PackageRef, team) -> None:  # noqa: F811
    good = ElementTree.fromstring(junit(check_release(Path(locked.path), owners=team.owners)))
    assert (good.get("tests"), good.get("failures")) == ("6", "0")
    bad = ElementTree.fromstring(junit(check_release(Path(locked.path))))
    assert bad.get("failures") == "1"
    (failure,) = bad.iter("failure")
    assert "--owners" in (failure.text or "")
