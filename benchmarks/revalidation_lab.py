"""A package of the pilot, locked by measuring it here, and re-validated in a process whose environment is not what it was.

Full precision in the serving runtime stands in for the source arm, and every tenth item for the hardest: both are measured like the
rest, and choosing them better would take longer than all that is compared here.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.playground import PILOT, first_lines
from quantplay import process
from quantplay.digest import digest_of, digest_of_file
from quantplay.engines.converter import convert, ensure_converter
from quantplay.engines.llama_quantize import quantize_file
from quantplay.envelope.hardware import measure_fingerprint
from quantplay.evalset import read_items
from quantplay.formats import TYPES
from quantplay.gate import decide
from quantplay.gate.revalidation import Finding, Locked
from quantplay.plan_file import read_plan
from quantplay.plays import keys
from quantplay.plays.arms import evaluate_arm
from quantplay.plays.evaluate import measure_candidate
from quantplay.plays.pin import Pinned, pin
from quantplay.plays.revalidate import not_measured, revalidate
from quantplay.plays.standing import Standing
from quantplay.records import Artifact, Baseline, Decision, Evaluation, Inputs, NoiseFloor, Performance, Revalidation
from quantplay.settings import settings
from quantplay.store.artifacts import ArtifactStore
from tasks.locked_files import locked_files

__all__ = ["Lab", "Standing", "again_job", "make_lab"]

KIND = "Q4_K_M"
NO_ONE = digest_of("nobody")


@dataclass(frozen=True, kw_only=True)
class Lab:
    """What was locked, and where its bytes lie."""

    top: Path
    locked: Locked
    inputs: Inputs
    threads: int

    @property
    def artifacts(self) -> ArtifactStore:
        return ArtifactStore((self.top / "store").as_uri())

    def again(self, environment: Mapping[str, str], threads: int | None = None) -> Revalidation:
        """Re-validate in a fresh process with `environment` on top of this one's."""
        payload = {
            "top": str(self.top), "threads": threads or self.threads, "inputs": self.inputs.body(), "locked": body_of(self.locked),
        }  # fmt: skip
        with environment_of(environment):
            done = process.run("benchmarks.revalidation_lab:again_job", payload, threads=self.threads)
        return Revalidation.model_validate(done.value)


def make_lab(top: Path, *, items: int, tolerance: tuple[float, float], threads: int) -> Lab:
    """Quantize the pilot, measure it on `items` items a slice, and put everything into an artifact store below `top`."""
    from benchmarks.playground import make_playground

    here = make_playground(top)
    first_lines(PILOT / "evaluation" / "gate.jsonl", here.folder / "gate.jsonl", items, by="slice")
    allowed = {"max_drop": tolerance[0], "broken_drop": tolerance[1]}
    names = read_plan(PILOT / "plan-pass.yaml").gate.slices
    file = here.plan(
        "locked", gate__slices={name: dict(allowed) for name in names}, envelope__context_tokens=256,
        gate__hardest={"share": 0.1, "max_loss_rise": 0.5, "broken_loss_rise": 1.0, "max_drop": 60.0, "broken_drop": 90.0},
    )  # fmt: skip
    plan, pinned = read_plan(file), pin(read_plan(file), here.folder)
    reference, candidate = top / "reference.gguf", top / "candidate.gguf"
    convert(ensure_converter(settings().cache), PILOT / "model", reference)
    ftype = TYPES[KIND].ftype
    assert ftype is not None
    quantize_file(reference, candidate, ftype=ftype, threads=threads)

    store, paths = ArtifactStore((top / "store").as_uri()), pinned.paths
    model = [paths.model / entry.path for entry in pinned.inputs.model.files]
    files = [reference, candidate, paths.calibration, paths.heldout, *paths.evaluation_files().values(), *model]
    for one in [*files, *([paths.traffic] if paths.traffic else [])]:
        store.put_file(one)

    stack = measure_fingerprint(threads)
    harness = keys.harness_of(plan, pinned.inputs)
    hardest = tuple(item.id for item in read_items(paths.gate)[::10])
    arm = evaluate_arm(
        "reference", plan, pinned, harness=harness, model=reference, model_digest=digest_of_file(reference),
        runtime="llama.cpp", threads=1, gold_loss_ids=hardest,
    )  # fmt: skip
    floor = NoiseFloor(changed="nothing", items=len(arm.items), flip_rate=0.0, max_drop_points={})
    baseline = Baseline(
        model=pinned.inputs.model.content, evaluation=pinned.inputs.evaluation.content, harness=harness, fingerprint=stack,
        precision="float32", source=arm.model_copy(update={"arm": "source"}), reference=arm, hardest=hardest,
        difficulty="every tenth item", noise_floor=floor, performance=no_speed(),
    )  # fmt: skip
    artifact = artifact_of(candidate)
    evaluation = measure_candidate(
        plan, pinned, baseline=baseline, baseline_key=NO_ONE, artifact=artifact, candidate=candidate, reference=reference,
        harness=harness, fingerprint=stack, threads=threads,
    )  # fmt: skip
    decision = decide(plan.gate, baseline, evaluation, envelope=plan.envelope, artifact=artifact)
    assert decision.verdict == "pass", decision.reasons
    locked = Locked(
        package=NO_ONE, plan=plan, baseline=baseline, artifact=artifact, evaluation_key=NO_ONE, evaluation=evaluation,
        decision=decision,
    )  # fmt: skip
    return Lab(top=top, locked=locked, inputs=pinned.inputs, threads=threads)


def artifact_of(candidate: Path) -> Artifact:
    return Artifact(
        recipe=NO_ONE, format="gguf", type=KIND, file_name=candidate.name, sha256=digest_of_file(candidate),
        size_bytes=candidate.stat().st_size, bits_per_weight=4.5, tensors={}, importance_matrix=None, seconds=1.0,
        peak_resident_bytes=1,
    )  # fmt: skip


def no_speed() -> Performance:
    """The baseline's own speed is not compared by a re-validation: both arms are measured together then."""
    return Performance.model_validate(
        {key: {"p50": 1, "p95": 1} for key in ("time_to_first_token_ms", "time_per_token_ms")}
        | dict.fromkeys(set(Performance.model_fields) - {"time_to_first_token_ms", "time_per_token_ms"}, 1)
    )


@contextmanager
def environment_of(values: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    own = os.pathsep.join(part for part in (values.get("PYTHONPATH"), str(Path(__file__).parents[1])) if part)
    os.environ.update({**values, "PYTHONPATH": own})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def body_of(locked: Locked) -> dict[str, Any]:
    return {name: value.body() if hasattr(value, "body") else value for name, value in vars(locked).items()}


def again_job(payload: dict[str, Any], _report: object) -> dict[str, Any]:
    """What `tasks.revalidate` does, without database and Prefect. Everything it starts has this process's environment."""
    body, top, threads = payload["locked"], Path(payload["top"]), payload["threads"]
    plan = read_plan(top / "plans with spaces" / "locked.yaml")
    locked = Locked(
        package=body["package"], plan=plan, baseline=Baseline.model_validate(body["baseline"]),
        artifact=Artifact.model_validate(body["artifact"]), evaluation_key=body["evaluation_key"],
        evaluation=Evaluation.model_validate(body["evaluation"]), decision=Decision.model_validate(body["decision"]),
    )  # fmt: skip
    inputs = Inputs.model_validate(payload["inputs"])
    judged: dict[str, Any] = {
        "harness": keys.harness_of(plan, inputs), "stack": measure_fingerprint(threads), "trigger": "stack.upgraded",
        "at": "2026-11-21T00:00:00+00:00",
    }  # fmt: skip
    with tempfile.TemporaryDirectory(dir=top) as scratch:
        found = locked_files(
            locked, inputs, ArtifactStore((top / "store").as_uri()), folder=top / "inputs", scratch=Path(scratch),
            convert=lambda: top / "reference.gguf",
        )  # fmt: skip
        if isinstance(found, Finding):
            return not_measured(locked, [found], **judged).found.body()
        again = revalidate(
            locked, Pinned(inputs=inputs, paths=found.pinned.paths), candidate=found.candidate, reference=found.reference,
            threads=threads, **judged,
        )  # fmt: skip
    return json.loads(json.dumps(again.found.body()))
