"""A package of trained weights carries the manager's signature under the business case, and its training is that of its inputs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from factories import digest, gguf_bytes, made_package
from signers import Signer, Team, made_signer, made_team, owners_text, signed, signed_business_case

from benchmarks.replay_package import with_artifact
from quantplay.digest import digest_of_file
from quantplay.evalset.manifests import manifest_of_files
from quantplay.handoff.contents import PackageContents
from quantplay.handoff.layout import json_bytes
from quantplay.handoff.manifest import manifest_of
from quantplay.handoff.pack import write_package
from quantplay.handoff.signatures import write_signatures
from quantplay.handoff.verify import VerifyReport, verify
from quantplay.plan_file import plan_from_text
from quantplay.records import CurvePoint, PackageRef, SignOff, Training, TrainingSettings
from quantplay.signoff import read_owners

RUN = "9b1de0aa-0f3c-4b3e-8c57-5d1f3a2b4c6d"
CASE = """
business_case: {requests_per_day: 1000, tokens_per_request: 100, serving_cost_per_million_tokens: 1, training_cost: 10, months: 6}
training: {file: training.jsonl}
"""


@dataclass(frozen=True, kw_only=True)
class Managed:
    """A team whose engineering manager is Mary; `owners` names her too."""

    team: Team
    owners: Path
    mary: Signer


@pytest.fixture(scope="module")
def managed(tmp_path_factory: pytest.TempPathFactory) -> Managed:
    team = made_team(tmp_path_factory.mktemp("team"))
    mary = made_signer(team.folder, "mary@example.com")
    owners = team.folder / "with-manager.yaml"
    owners.write_text(
        owners_text((team.ada, "ml_engineer"), (team.grace, "product_owner"), (mary, "engineering_manager"))
    )
    return Managed(team=team, owners=owners, mary=mary)


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> PackageContents:
    """As after play 6 in profile internal: one candidate that was short, then the trained one."""
    folder = tmp_path_factory.mktemp("made")
    made = made_package(folder)
    text = made.plan_text + CASE
    plan = plan_from_text(text, Path("plan.yaml")).plan
    assert plan is not None
    (folder / "training.jsonl").write_text('{"id": "a", "text": "the desk is closed on sunday"}\n')
    files = {"training.jsonl": folder / "training.jsonl"}
    inputs = made.inputs.model_copy(update={"training": manifest_of_files("training", files, "training.jsonl")})
    weights, file = folder / "trained.safetensors", folder / "trained.gguf"
    weights.write_bytes((folder / "model" / "model.safetensors").read_bytes())
    recipe = made.recipe.model_copy(update={"trained": digest_of_file(weights)})
    file.write_bytes(gguf_bytes({"general.name": "support desk", "quantplay.recipe": recipe.digest()}))
    artifact = made.artifact.model_copy(
        update={"recipe": recipe.digest(), "sha256": digest_of_file(file), "size_bytes": file.stat().st_size}
    )
    dev = next(one.sha256 for one in inputs.evaluation.files if one.path == "dev.jsonl")
    assert inputs.training is not None
    training = Training(
        artifact=made.artifact.sha256, model=inputs.model.content, data=inputs.training.content, dev=dev,
        settings=TrainingSettings(steps=1, learning_rate=1e-4, device="cpu", precision="float32"), precision="float32",
        device="cpu", kinds=artifact.tensors, texts=1, tokens=9, tokens_seen=9,
        curve=tuple(CurvePoint(step=step, loss=0.1, dev_kl_nats=0.1 / (1 + step), dev_top1=0.9) for step in (0, 1)),
        steps_done=1, chosen_step=1, stopped_early=False, weights=digest_of_file(weights), size_bytes=weights.stat().st_size,
        seconds=1.0, peak_resident_bytes=1,
    )  # fmt: skip
    changed = replace(
        made, run=RUN, plan=plan, plan_text=text, inputs=inputs, recipe=recipe, training=training, trained_weights=weights,
        sources={**made.sources, "training": files},
    )  # fmt: skip
    after = with_artifact(changed, artifact, file)
    return replace(after, attempts=(*made.attempts, *after.attempts))


@pytest.fixture
def package(contents: PackageContents, tmp_path: Path) -> PackageRef:
    return write_package(contents, tmp_path / "package")


def approval(contents: PackageContents, managed: Managed, **other: Any) -> SignOff:
    """Mary's signature under the business case, after the decision that was short."""
    case = contents.plan.business_case
    assert case is not None
    short = contents.attempts[0].decision
    return signed_business_case(managed.mary, managed.owners, RUN, short, case, other)


def places(report: VerifyReport) -> str:
    return " | ".join(str(problem) for problem in report.problems)


def test_the_managers_signature_lies_beside_and_is_checked(
    package: PackageRef, contents: PackageContents, managed: Managed
) -> None:
    assert verify(Path(package.path), signatures_due=False).ok
    assert "the artifact was trained, and the engineering manager's approval of that is missing" in places(
        verify(Path(package.path))
    )
    write_signatures(package, RUN, [approval(contents, managed)], read_owners(managed.owners))
    for path in (Path(package.path), Path(str(package.archive))):
        report = verify(path)
        assert report.ok, places(report)
        assert any("mary@example.com (engineering_manager, training)" in line for line in report.checked)
    text = Path(package.path, "signatures", "1-training-engineering_manager.txt").read_text()
    assert "business case: " in text


def test_in_production_it_is_needed_beside_the_three_approvals(
    contents: PackageContents, managed: Managed, tmp_path: Path
) -> None:
    text = contents.plan_text.replace("profile: internal", "profile: production")
    plan = plan_from_text(text, Path("plan.yaml")).plan
    assert plan is not None
    package = write_package(replace(contents, plan=plan, plan_text=text), tmp_path / "package")
    about = {"run": RUN, "gate": plan.gate_digest(), "decision": contents.decision.digest()}
    three = [
        signed(managed.team, "ml_engineer", **about), signed(managed.team, "product_owner", **about),
        signed(managed.team, "product_owner", stage="lock", manifest=package.manifest, **about),
    ]  # fmt: skip
    owners = read_owners(managed.owners)
    write_signatures(package, RUN, three, owners)
    assert "the approval of the training's business case by engineering_manager is missing" in places(
        verify(Path(package.path))
    )
    write_signatures(package, RUN, [*three, approval(contents, managed)], owners)
    report = verify(Path(package.path), owners=str(managed.owners))
    assert report.ok, places(report)
    assert "Grace Hopper, mary@example.com: identity" in report.checked[-1]


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"business_case": digest("cheaper")}, "names another business case"),
        ({"gate": digest("laxer")}, "names another gate"),
        ({"decision": digest("another run's")}, "is about a decision of another run"),
        ({"verdict": "reject"}, "mary@example.com as engineering_manager did not approve the training's business case"),
        ({"run": "00000000-0000-4000-8000-000000000000"}, "the approval of the training's business case by engineering_manager"),
    ],
)  # fmt: skip
def test_a_signature_under_something_else_does_not_count(
    package: PackageRef, contents: PackageContents, managed: Managed, other: dict[str, str], said: str
) -> None:
    write_signatures(package, RUN, [approval(contents, managed, **other)], read_owners(managed.owners))
    assert said in places(verify(Path(package.path)))


def test_a_signed_text_that_was_changed_is_found(
    package: PackageRef, contents: PackageContents, managed: Managed
) -> None:
    good = approval(contents, managed)
    dearer = good.text.replace(good.person, "someone else")
    for changed in (
        good.model_copy(update={"text": dearer}),
        good.model_copy(update={"signature": approval(contents, managed).signature}),
    ):
        write_signatures(package, RUN, [changed], read_owners(managed.owners))
        assert "1-training-engineering_manager" in places(verify(Path(package.path)))


def test_no_signature_of_a_training_in_a_package_without_one(tmp_path: Path, managed: Managed, contents) -> None:
    plain = made_package(tmp_path / "run")
    ref = write_package(plain, tmp_path / "package")
    write_signatures(ref, RUN, [approval(contents, managed)], read_owners(managed.owners))
    assert "this artifact was not trained" in places(verify(Path(ref.path)))


def rewritten(package: PackageRef, change: Callable[[dict[str, Any]], None]) -> Path:
    """The package with another training.json, and a manifest that says so."""
    folder = Path(package.path)
    file, manifest = folder / "training.json", folder / "manifest.json"
    body = json.loads(file.read_text())
    change(body)
    file.write_bytes(json_bytes(body))
    manifest.write_bytes(manifest_of(folder, RUN).to_bytes())
    return folder


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("model", digest("other"), "trained another model"),
        ("data", digest("other"), "trained on other texts"),
        ("dev", digest("other"), "chose its step on another dev split"),
        ("weights", digest("other"), "ended in other weights"),
        ("artifact", digest("other"), "not among the attempts"),
        ("kinds", {"output.weight": "Q8_0"}, "simulated other types"),
    ],
)
def test_a_training_of_other_inputs_is_found(package: PackageRef, field: str, value: Any, said: str) -> None:
    def change(body: dict[str, Any]) -> None:
        body[field] = value

    report = verify(rewritten(package, change), signatures_due=False)
    assert said in places(report)
    assert "training.json" in {fault.where for fault in report.problems}
