"""A run's records for audits: consistent with each other, passing, pinned and locked; and the same in a database."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from factories import digest, made_inputs, made_items, made_plan, made_results

from quantplay.audit.facts import Facts
from quantplay.digest import canonical_json
from quantplay.plan import Plan
from quantplay.plays import keys
from quantplay.records import (
    CalibrationCheck,
    CalibrationFinding,
    EnvelopeChoice,
    Inputs,
    MadeOf,
    PackageRef,
    Revalidation,
    RollbackRules,
    Training,
)
from quantplay.records.traffic import PolicyRevision, ServedArm
from quantplay.store.registry import Store

MODEL, REFERENCE = digest("model.safetensors"), digest("reference.gguf")
FIGURES = {"traffic_texts": 300.0, "divergence_bits": 0.08, "divergence_limit_bits": 0.12, "overlap_gate": 0.0}


@dataclass(frozen=True)
class Made:
    """A whole run in memory. `changed` replaces records; `stored` writes them all."""

    plan: Plan
    inputs: Inputs
    records: dict[str, Any]

    def facts(self, **changes: Any) -> Facts:
        known: dict[str, Any] = {
            "kind": "package", "subject": "s", "plan": self.plan, "locked": True, "package": package_of(self.plan.digest()),
            "manifests": {one.kind: one for one in self.inputs.manifests},
            "pins": {MODEL: ("model of a locked run",), REFERENCE: ("reference",)}, "archived": {MODEL: True, REFERENCE: True},
            "tried": (self.records["artifact"],), "keys": {"evaluation": "e" * 64}, **self.records,
        }  # fmt: skip
        return Facts(**(known | changes))

    def but(self, **changes: Any) -> Made:
        """With other records, `plan` and `inputs` among them; whatever names another one's digest follows."""
        plan, inputs = changes.pop("plan", self.plan), changes.pop("inputs", self.inputs)
        return replace(self, plan=plan, inputs=inputs, records=self.records | changes)

    def record(self, name: str, **changes: Any) -> Made:
        """With some fields of one record changed; a decision speaks of the evaluation as it is then."""
        made = self.but(**{name: self.records[name].model_copy(update=changes)})
        if name == "evaluation":
            said = made.records["decision"].model_copy(update={"evaluation": made.records["evaluation"].digest()})
            made = made.but(decision=said)
        if name == "recipe":
            made = made.but(
                artifact=made.records["artifact"].model_copy(update={"recipe": made.records["recipe"].digest()})
            )
        return made

    def planned(self, part: str, **changes: Any) -> Made:
        """With some fields of one part of the plan changed."""
        return self.but(plan=self.plan.model_copy(update={part: getattr(self.plan, part).model_copy(update=changes)}))


def package_of(plan: str = "0" * 64, run: str = "3f2a9c1e-5d07-4c5f-9b0e-6f0d2f1a7c11") -> PackageRef:
    made_of = MadeOf(
        plan=plan, baseline=digest("baseline key"), artifact=digest("artifact key"), evaluation=digest("evaluation key"),
        decision=digest("decision key"), inputs=(),
    )  # fmt: skip
    return PackageRef(run=run, path="/p", manifest=digest("manifest"), archive=None, size_bytes=9, made_of=made_of)


def made(*, items: int = 120, kind: str = "Q4_K_M", profile: str = "internal") -> Made:
    """A clean run that passed."""
    plan, inputs = made_plan(), made_inputs()
    envelope = plan.envelope.model_copy(update={"target_chip": "Intel Xeon*"})
    plan = plan.model_copy(update={"profile": profile, "envelope": envelope})
    baseline, recipe, artifact, evaluation, decision = made_results(
        made_items(items), plan, inputs, {}, kind="Q4_K_M", sha256=digest(kind), size_bytes=3 << 20
    )
    from factories import made_envelope

    chosen: EnvelopeChoice = made_envelope()
    check = CalibrationCheck(calibration=inputs.calibration.content, samples=256, findings=(), figures=FIGURES)
    return Made(plan, inputs, {
        "baseline": baseline, "recipe": recipe, "artifact": artifact, "evaluation": evaluation, "decision": decision,
        "envelope": chosen, "calibration": check,
    })  # fmt: skip


def finding(rule: str, waiver: str | None) -> CalibrationFinding:
    return CalibrationFinding(rule=rule, what="A defect.", value="9", allowed="none", waiver=waiver)


def checked_waiver(run: Made) -> Made:
    """With a calibration set that is out of domain, and accepted."""
    check = run.records["calibration"].model_copy(
        update={"findings": (finding("calibration.domain", "no other texts"),)}
    )
    return run.but(calibration=check)


def measured_again(run: Made, *, cpu: str, measured: bool = True) -> Revalidation:
    """Of the run's package, on another processor; not measured: only noticed there."""
    then = run.records["evaluation"]
    stack = then.fingerprint.model_copy(
        update={"hardware": then.fingerprint.hardware.model_copy(update={"cpu": cpu, "accelerators": ()})}
    )
    return Revalidation(
        package=digest("package"), artifact=then.artifact, evaluation=digest("evaluation key"), trigger="stack.upgraded",
        at="2026-11-20T09:00:00+00:00", status="confirmed" if measured else "stale", reasons=("It is so.",),
        stack_then=then.fingerprint.digest(), stack_now=stack.digest(), stack=stack, changes=(), harness_then=then.harness,
        harness_now=then.harness, measured=digest("again") if measured else None, items=0, lost=0, won=0, responses_changed=0,
        slices=(), against_baseline=None, envelope=(), alarms=(), divergence_then=then.divergence, divergence_now=None,
        performance_then=then.performance, performance_now=None,
    )  # fmt: skip


def policy(**changes: Any) -> PolicyRevision:
    arms = {
        name: ServedArm(url=f"http://{name}/v1", model=name, artifact=sha)
        for name, sha in (("full", REFERENCE), ("small", digest("Q4_K_M")))
    }
    known: dict[str, Any] = {
        "endpoint": "chat", "package": digest("manifest"), "full_precision": arms["full"], "quantized": arms["small"], "salt": "s",
        "rules": RollbackRules(),
    }  # fmt: skip
    return PolicyRevision(**(known | changes))


def stored(store: Store, run: Made, *, pinned: bool = True, locked: bool = True) -> tuple[str, str]:
    """Every record as a run leaves it; (run id, package key)."""
    records = run.records
    plan = store.put_plan(run.plan)
    inputs = tuple(store.put_manifest(one) for one in run.inputs.manifests)
    contents = {one.kind: one.content for one in run.inputs.manifests}
    identity = store.start_run(
        plan=plan, profile=run.plan.profile, body={"plan": plan, "inputs": contents, "plan_path": "/plan.yaml"}
    )
    baseline = records["evaluation"].baseline
    key_of = {
        "calibration": digest(f"calibration {plan}"), "baseline": baseline, "envelope": digest(f"envelope {plan}"),
        "ptq": keys.artifact_key(records["recipe"]), "evaluate": digest(records["evaluation"].digest()),
        "gate": digest(records["decision"].digest()),
    }  # fmt: skip
    store.put_recipe(records["recipe"].digest(), records["recipe"])
    fields = {"ptq": "artifact", "evaluate": "evaluation", "gate": "decision"}
    for play, key in key_of.items():
        store.settle(identity, play=play, key=key, record=records[fields.get(play, play)], reused=False, seconds=1.0)
    if "training" in records:
        training: Training = records["training"]
        store.settle(identity, play="training", key=digest("training"), record=training, reused=False, seconds=1.0)
    if not locked:
        return str(identity), ""
    made_of = MadeOf(
        plan=plan,
        baseline=baseline,
        artifact=key_of["ptq"],
        evaluation=key_of["evaluate"],
        decision=key_of["gate"],
        inputs=inputs,
    )
    package = PackageRef(
        run=str(identity), path="/p", manifest=digest(f"manifest {plan}"), archive=None, size_bytes=9, made_of=made_of
    )
    key = digest(f"package {plan}")
    store.put_package(key, package)
    if pinned:
        with tempfile.TemporaryDirectory() as folder:
            for entry in run.inputs.model.files:
                path = Path(folder) / entry.path
                path.write_bytes(canonical_json({"test": entry.path}))  # what factories.digest is the digest of
                assert store.artifacts.put_file(path).sha256 == entry.sha256
        for entry in run.inputs.model.files:
            store.pin(entry.sha256, "model of a locked run: the rollback path", identity)
        store.pin(
            records["baseline"].reference.model, "full precision in the serving runtime of a locked run", identity
        )
    store.finish_run(identity, outcome="locked", exit_code=0, package=key)
    return str(identity), key
