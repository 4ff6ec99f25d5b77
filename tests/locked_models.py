"""Locked models in a registry: the records a run leaves, small and complete, written through the Store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quantplay.records import Decision, FileEntry, Fingerprint, MadeOf, Manifest, PackageRef
from quantplay.store.registry import Store
from tests.store import store_samples as samples

TYPES = {"Q4_K_M": 4.5, "Q5_K_M": 5.5, "Q8_0": 8.5, "Q4_0": 4.5}


def lock_model(
    store: Store,
    name: str = "desk",
    *,
    model: str = "model",
    kind: str = "Q4_K_M",
    on: Fingerprint = samples.FINGERPRINT,
    drop: float = 0.5,
    items: int = 3,
    bulk: int = 1,
    plan: Mapping[str, Any] | None = None,
    envelope: Mapping[str, Any] | None = None,
    folder: str = "/p",
) -> str:
    """A run that ends locked; the key of its package. `plan`, `envelope`: what the plan says otherwise there.

    bulk: so many slices, tens of tensors and tens of hardest items: what a record of a real model weighs.
    """
    written = samples.plan(name)
    written = written.model_copy(
        update={
            "envelope": written.envelope.model_copy(update=dict(envelope or {})),
            "model": written.model.model_copy(update={"source": model}),
            **dict(plan or {}),
        }
    )
    seed = samples.digest([kind, drop, written.body(), on.digest()])
    key_of_plan = store.put_plan(written)
    source = Manifest.of("model", model, (FileEntry(path="weights", size_bytes=9, sha256=samples.digest(model)),))
    run = store.start_run(
        plan=key_of_plan, profile=written.profile, body={"inputs": {"model": source.content}, "plan_path": "plan.yaml"}
    )
    recipe = samples.recipe().model_copy(
        update={"model": source.content, "type": kind, "bits_per_weight": TYPES[kind], "seed": int(seed[:6], 16)}
    )
    artifact = samples.artifact().model_copy(
        update={"recipe": recipe.digest(), "type": kind, "bits_per_weight": TYPES[kind] + 0.07, "tensors": {f"blk.{n}.weight": "Q4_K" for n in range(10 * bulk)}, "sha256": samples.digest(["file", seed])}
    )  # fmt: skip
    hardest = {f"item-{n:05}": n / 7 for n in range(10 * bulk)}
    evaluation = samples.evaluation(items).model_copy(
        update={
            "fingerprint": on,
            "artifact": artifact.sha256,
            "hardest_loss_reference": hardest,
            "hardest_loss_candidate": hardest,
        }
    )
    keys = {
        part: samples.digest([part, seed]) for part in ("baseline", "artifact", "evaluation", "decision", "package")
    }
    store.put_recipe(recipe.digest(), recipe)
    store.put_artifact(keys["artifact"], artifact)
    store.put_baseline(keys["baseline"], samples.baseline(items))
    store.put_evaluation(keys["evaluation"], evaluation)
    store.put_decision(keys["decision"], decision_of(drop, bulk))
    package = PackageRef(
        run=str(run), path=f"{folder}/{name}-{keys['package'][:12]}", manifest=samples.digest(["manifest", seed]), archive=None,
        size_bytes=1,
        made_of=MadeOf(
            plan=key_of_plan, baseline=keys["baseline"], artifact=keys["artifact"], evaluation=keys["evaluation"],
            decision=keys["decision"], inputs=(store.put_manifest(source),),
        ),
    )  # fmt: skip
    store.put_package(keys["package"], package)
    for play, key in (
        ("ptq", keys["artifact"]),
        ("evaluate", keys["evaluation"]),
        ("gate", keys["decision"]),
        ("lock", keys["package"]),
    ):
        store.record_play(run, play=play, key=key, reused=False, seconds=1)  # fmt: skip
    store.finish_run(run, outcome="locked", exit_code=0, package=keys["package"], left_at="ptq")
    return keys["package"]


def decision_of(drop: float, slices: int = 1) -> Decision:
    first = samples.decision().slices[0].model_copy(update={"drop": drop, "upper": drop + 0.5})
    calm = (first.model_copy(update={"slice": f"calm-{n}", "drop": -0.2, "upper": 0.2}) for n in range(slices))
    return samples.decision().model_copy(update={"slices": (first, *calm)})
