"""A model update: what has to stay is compared value by value and file by file, the earlier choice comes first, and both runs are shown."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from factories import digest, made_fingerprint, made_package, made_plan, made_plan_text
from hypothesis import given
from hypothesis import strategies as st

from quantplay.cli.update_plan import in_its_own_order, model_source, moved, write
from quantplay.envelope.choose import DEFAULT_ORDER, choose
from quantplay.errors import InputError
from quantplay.handoff import layout
from quantplay.handoff.card import render_card
from quantplay.handoff.contents import PackageContents
from quantplay.handoff.manifest import manifest_of
from quantplay.handoff.markdown import summary_markdown
from quantplay.handoff.pack import write_package
from quantplay.handoff.report import render_report
from quantplay.handoff.verify import verify
from quantplay.plan import Envelope, Plan
from quantplay.plan_file import read_plan
from quantplay.plays import keys
from quantplay.plays.pin import locate
from quantplay.plays.update import Earlier, earlier_slices, plan_differences, require_update
from quantplay.records import Inputs, Manifest, PackageRef, Update

RUN = "0a1b2c3d-0000-4000-8000-000000000000"
FREE: dict[str, Any] = {
    "name": "another-name", "use_case": "Another one.", "trade_off": "Another one.", "updates": RUN,
    "model": {"source": "elsewhere"}, "owners": {"ml_engineer": "c@example.com", "product_owner": "d@example.com"},
    "deviations": [{"rule": "calibration.count", "reason": "there are only so many"}],
}  # fmt: skip


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> PackageContents:
    return made_package(tmp_path_factory.mktemp("run"))


def other(manifest: Manifest, path: str | None = None) -> Manifest:
    """The same set with one file of other bytes."""
    files = tuple(
        file.model_copy(update={"sha256": digest(f"other {file.path}")}) if path in (None, file.path) else file
        for file in manifest.files
    )
    return Manifest.of(manifest.kind, manifest.source, files, manifest.revision)


def before(contents: PackageContents) -> Earlier:
    harness = keys.harness_of(contents.plan, contents.inputs)
    return Earlier(run=RUN, plan=contents.plan, inputs=contents.inputs, harness=harness)


def with_new_model(inputs: Inputs, **more: Manifest) -> Inputs:
    return inputs.model_copy(update={"model": other(inputs.model), **more})


def test_only_the_model_and_what_decides_nothing_may_change(contents: PackageContents) -> None:
    plan = Plan.model_validate(contents.plan.body() | FREE)
    require_update(before(contents), plan, with_new_model(contents.inputs))


def leaves(body: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if isinstance(body, dict) and body:
        return [leaf for key, value in body.items() for leaf in leaves(value, (*path, key))]
    return [path]


def changed(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value / 2 if isinstance(value, float) else value + 1
    if isinstance(value, list):
        return value[:1] if len(value) > 1 else ["Q5_K_M"]
    return {"memory": "latency", "internal": "production", "production": "internal"}.get(value, value)


KEPT = [
    path
    for path in leaves(made_plan().body())
    if path[0] in ("profile", "seed", "decoding", "gate", "envelope") or path[:2] in (("calibration", "samples"), ("calibration", "tokens"))
]  # fmt: skip


@given(st.sets(st.sampled_from(KEPT), min_size=1))
def test_every_value_that_differs_is_named_at_once(paths: set[tuple[str, ...]]) -> None:
    plan = made_plan()
    body, expected = plan.body(), set()
    for path in paths:
        part = body
        for key in path[:-1]:
            part = part[key]
        if part[path[-1]] != changed(part[path[-1]]) and part[path[-1]] is not None:
            part[path[-1]] = changed(part[path[-1]])
            expected.add(".".join(path))
    assert {fault.where for fault in plan_differences(plan, Plan.model_validate(body))} == expected


def test_files_harness_and_model_are_compared_by_digest_in_one_error(contents: PackageContents) -> None:
    inputs = contents.inputs
    same_model = inputs.model_copy(
        update={"calibration": other(inputs.calibration), "evaluation": other(inputs.evaluation, "gate.jsonl"), "heldout": other(inputs.heldout)}
    )  # fmt: skip
    with pytest.raises(InputError) as raised:
        require_update(replace(before(contents), harness=digest("older")), contents.plan, same_model)
    found = {fault.where: fault for fault in raised.value.faults}
    assert set(found) == {"calibration files", "evaluation files", "heldout files", "harness", "model"}
    assert str(found["evaluation files"].value).startswith("gate.jsonl: ")
    assert found["calibration files"].allowed == inputs.calibration.content
    assert "another model" in str(raised.value.allowed)


def test_a_gate_of_its_own_is_named_by_its_field_with_both_values(contents: PackageContents) -> None:
    slices = dict(contents.plan.body()["gate"]["slices"])
    first = next(iter(slices))
    slices[first] = {"max_drop": 40.0, "broken_drop": 80.0}
    body = contents.plan.body()
    body["gate"]["slices"] = slices
    with pytest.raises(InputError) as raised:
        require_update(before(contents), Plan.model_validate(body), with_new_model(contents.inputs))
    assert [(fault.where, fault.value, fault.allowed) for fault in raised.value.faults] == [
        (f"gate.slices.{first}.broken_drop", "80.0", "8.0"), (f"gate.slices.{first}.max_drop", "40.0", "4.0"),
    ]  # fmt: skip


# --- the envelope's choice -----------------------------------------------------------------------------------------------


def made_update(contents: PackageContents, kind: str = "Q4_K_M") -> Update:
    return Update(
        run=RUN, plan=contents.plan.digest(), model=digest("the older model"), type=kind, decision=digest("decision"),
        manifest=digest("manifest"), slices=earlier_slices(contents.decision),
    )  # fmt: skip


@pytest.mark.parametrize("kind", DEFAULT_ORDER)
def test_the_type_that_was_locked_is_tried_first_and_the_record_says_why(
    contents: PackageContents, tmp_path: Path, kind: str
) -> None:
    from test_envelope_choose import save_headers

    model = save_headers(tmp_path / "model")
    plain = choose(Envelope(), model, made_fingerprint())
    choice = choose(Envelope(), model, made_fingerprint(), made_update(contents, kind))
    assert choice.chosen.type == kind
    assert (
        choice.reasons[0]
        == f"Run 0a1b2c3d, which this one updates, locked {kind} under this very envelope, so it is tried first."
    )
    others = [one.type for one in plain.candidates if one.type != kind]
    assert [one.type for one in choice.candidates] == [kind, *others]
    assert [one.rank for one in choice.candidates] == list(range(1, len(choice.candidates) + 1))


def test_a_type_that_does_not_fit_the_new_model_is_not_tried_first(contents: PackageContents, tmp_path: Path) -> None:
    from test_envelope_choose import save_headers

    model = save_headers(tmp_path / "model")
    envelope = Envelope(types=("Q4_K_M", "Q8_0"), max_artifact_mib=1.0)
    choice = choose(envelope, model, made_fingerprint(), made_update(contents, "Q8_0"))
    assert choice.chosen.type == "Q4_K_M"
    assert choice.reasons[0].endswith(
        "locked Q8_0 under this very envelope; it does not fit this model, so the others come first."
    )


def test_an_update_has_an_envelope_record_of_its_own(contents: PackageContents) -> None:
    key = keys.envelope_key(contents.plan, contents.inputs, made_fingerprint())
    keys_of_updates = {
        keys.envelope_key(contents.plan, contents.inputs, made_fingerprint(), made_update(contents, kind))
        for kind in ("Q4_K_M", "Q4_0")
    }
    assert len({key, *keys_of_updates}) == 3


# --- the plan that is written ------------------------------------------------------------------------------------------


def test_the_plan_is_written_once_and_never_over_another_file(contents: PackageContents, tmp_path: Path) -> None:
    plan = contents.plan.model_copy(update={"updates": RUN})
    target = tmp_path / "plan.update.yaml"
    write(plan, target)
    assert read_plan(target).digest() == plan.digest()
    assert list(read_plan(target).gate.slices) == list(plan.gate.slices)
    stamp = target.stat().st_mtime_ns
    write(plan, target)
    assert target.stat().st_mtime_ns == stamp
    with pytest.raises(InputError, match="another file"):
        write(plan.model_copy(update={"seed": 99}), target)


def test_a_plan_written_elsewhere_names_the_same_files(contents: PackageContents, tmp_path: Path) -> None:
    old, new = tmp_path / "desk", tmp_path / "elsewhere" / "deep"
    (old / "model").mkdir(parents=True)
    new.mkdir(parents=True)
    plan = moved(contents.plan, old, new)
    there, here = locate(contents.plan, old), locate(plan, new)
    for name in ("calibration", "gate", "dev", "heldout", "model"):
        assert getattr(here, name).resolve() == getattr(there, name).resolve()
    assert moved(contents.plan, old, old) == contents.plan


def test_the_model_is_named_from_the_plan_and_has_to_be_there(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    assert model_source(tmp_path / "new", tmp_path) == "new"
    assert model_source(tmp_path / "new", tmp_path / "plans") == str(tmp_path / "new")
    with pytest.raises(InputError, match="no such model folder"):
        model_source(tmp_path / "missing", tmp_path)


def test_the_teams_own_order_of_slices_is_kept_while_the_file_says_the_same(
    contents: PackageContents, tmp_path: Path
) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text(made_plan_text())
    recorded = Plan.model_validate_json(json.dumps(contents.plan.body(), sort_keys=True))
    assert list(in_its_own_order(recorded, file).gate.slices) == list(made_plan().gate.slices)
    file.write_text(made_plan_text().replace("max_drop: 9.0", "max_drop: 9.5"))
    assert in_its_own_order(recorded, file) is recorded
    assert in_its_own_order(recorded, tmp_path / "gone.yaml") is recorded


# --- where it is shown -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def updated(contents: PackageContents) -> PackageContents:
    """The same run, as an update of one whose numbers were each a little different."""
    update = made_update(contents)
    slices = tuple(
        one.model_copy(update={"baseline": one.baseline - 1.5, "candidate": one.candidate - 3.5, "drop": one.drop + 2})
        for one in update.slices
    )
    plan = contents.plan.model_copy(update={"updates": RUN})
    return replace(
        contents,
        plan=plan,
        plan_text=contents.plan_text + f"updates: {RUN}\n",
        update=update.model_copy(update={"slices": slices}),
    )


def test_report_card_and_summary_show_both_runs_slice_by_slice(updated: PackageContents) -> None:
    from markupsafe import escape

    from quantplay.handoff.updates import cells, then_and_now

    assert updated.update is not None
    rows = [cells(row) for row in then_and_now(updated.update, updated.decision, updated.plan)]
    assert len(rows) == len(updated.decision.slices)
    page, card, summary = render_report(updated.results()), render_card(updated), summary_markdown(updated.results())
    section = page.partition('<section id="update">')[2].partition("</section>")[0]
    assert "run 0a1b2c3d" in section
    for row in rows:
        assert all(str(escape(cell)) in section for cell in row)
        assert card.count(f"| {' | '.join(row[1:])} |") >= 1
        assert summary.count(f"| {' | '.join(row[1:])} |") >= 1
    assert "run 0a1b2c3d" in card
    assert "run 0a1b2c3d" in summary


def test_a_run_that_updates_nothing_says_nothing_of_it(contents: PackageContents, tmp_path: Path) -> None:
    assert 'id="update"' not in render_report(contents.results())
    assert "updates" not in render_card(contents)
    folder = Path(write_package(contents, tmp_path / "package").path)
    assert not (folder / layout.UPDATE).exists()
    assert layout.UPDATE not in (folder / "README.md").read_text()


@pytest.fixture(scope="module")
def packed(updated: PackageContents, tmp_path_factory: pytest.TempPathFactory) -> PackageRef:
    return write_package(updated, tmp_path_factory.mktemp("packed") / "package")


def test_the_package_carries_the_earlier_run_and_verifies(updated: PackageContents, packed: PackageRef) -> None:
    folder = Path(packed.path)
    assert updated.update is not None
    assert json.loads((folder / layout.UPDATE).read_bytes()) == updated.update.body()
    assert layout.UPDATE in (folder / "README.md").read_text()
    report = verify(folder)
    assert [fault for fault in report.problems if "signature" not in str(fault)] == []


@pytest.mark.parametrize("damage", ["removed", "another run", "another slice", "another number"])
def test_an_update_that_does_not_belong_to_the_plan_is_found(packed: PackageRef, tmp_path: Path, damage: str) -> None:
    folder = Path(shutil.copytree(packed.path, tmp_path / "package"))
    path = folder / layout.UPDATE
    body = json.loads(path.read_bytes())
    if damage == "removed":
        path.unlink()
    else:
        if damage == "another run":
            body["run"] = RUN.replace("0a1b", "ffff")
        elif damage == "another slice":
            body["slices"] = body["slices"][1:]
        else:
            body["slices"][0]["baseline"] += 5
        path.write_bytes(layout.json_bytes(body))
    run = json.loads((folder / layout.MANIFEST).read_bytes())["run"]
    (folder / layout.MANIFEST).write_bytes(manifest_of(folder, run).to_bytes())
    problems = " | ".join(str(fault) for fault in verify(folder).problems)
    assert layout.UPDATE in problems or "does not say what the records say" in problems
