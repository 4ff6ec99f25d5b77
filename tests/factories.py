"""Records with realistic numbers, consistent with each other: a support desk's model, five slices, any amount of damage.

The decision is always the gate's own. `made_run` gives records alone; `made_package` writes the files they speak of as well.
"""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from quantplay.digest import digest_of, digest_of_bytes
from quantplay.evalset import manifest_of_files, manifest_of_model
from quantplay.handoff.contents import Attempt, PackageContents, Question, RunResults, read_questions, source_files
from quantplay.plan import Plan
from quantplay.plan_file import plan_from_text
from quantplay.records import (
    Arm,
    ArmRun,
    Artifact,
    Baseline,
    Candidate,
    Decision,
    Divergence,
    EnvelopeChoice,
    Evaluation,
    FileEntry,
    Fingerprint,
    Hardware,
    InputKind,
    Inputs,
    ItemResult,
    Manifest,
    NoiseFloor,
    Performance,
    Recipe,
    Software,
    Spread,
)

MIB = 1 << 20
SLICES = {
    "multi_step": "Adds up the items of an order, step by step",
    "instructions": "Follows every detail of an instruction",
    "output_format": "Files a ticket as JSON in a strict format",
    "long_context": "Finds a fact in a longer page of orders",
    "edge_cases": "Says so when an order is empty or not there",
}
DAMAGE: dict[str, dict[str, tuple[float, float]]] = {
    "pass": {"multi_step": (0.012, 0.008), "instructions": (0.004, 0.004)},
    "close": {"multi_step": (0.075, 0.012), "instructions": (0.02, 0.01), "output_format": (0.01, 0.01)},
    "broken": {"multi_step": (0.31, 0.005), "instructions": (0.16, 0.01), "output_format": (0.08, 0.01), "edge_cases": (0.05, 0.0)},
    "inconclusive": {"multi_step": (0.05, 0.02)},
}  # fmt: skip
"""Verdict -> slice -> share of items lost and won, which with `ITEMS` items a slice gives this verdict."""
ITEMS: dict[str, int] = {"pass": 600, "close": 600, "broken": 600, "inconclusive": 600}
TYPES = {"pass": "Q4_K_M", "close": "Q3_K_M", "broken": "Q2_K", "inconclusive": "Q4_0"}
SIZES = {"Q4_K_M": 3.63, "Q3_K_M": 3.12, "Q2_K": 2.71, "Q4_0": 3.41}  # MiB
DIVERGENCES = {"Q4_K_M": 0.0062, "Q3_K_M": 0.031, "Q2_K": 0.34, "Q4_0": 0.0093}
REFERENCE_BYTES = round(9.78 * MIB)
PLAN_TEXT = """\
# A support desk's model, for tests.
schema: 1
name: support-desk
use_case: A support desk answers questions about orders and files tickets.
trade_off: A third of the memory; in exchange each skill may lose up to four points.
profile: internal
seed: 7
model: {source: model}
calibration: {file: calibration.jsonl, samples: 4, tokens: 64}
evaluation:
  gate: gate.jsonl
  dev: dev.jsonl
  heldout: heldout.jsonl
  slices:
%s
decoding: {max_tokens: 64, stop: ["\\n"]}
envelope: {runtime: llama.cpp, device: cpu, bottleneck: memory, types: [Q4_K_M, Q4_0], max_artifact_mib: 4.0, memory_mib: 64.0,
  context_tokens: 512, batch: 4, max_slowdown: 1.25}
gate:
  attempts: %d
  slices:
%s
  hardest: {share: 0.1, max_drop: 9.0, broken_drop: 18.0, max_loss_rise: 0.1, broken_loss_rise: 0.2}
owners: {ml_engineer: ada@example.com, product_owner: grace@example.com, on_call: desk@example.com}
"""


def digest(name: object) -> str:
    return digest_of({"test": str(name)})


def made_plan_text(attempts: int = 1, slices: Mapping[str, str] = SLICES) -> str:
    titles = "\n".join(f"    {name}: {{title: {json.dumps(title)}}}" for name, title in slices.items())
    limits = "\n".join(f"    {name}: {{max_drop: 4.0, broken_drop: 8.0}}" for name in slices)
    return PLAN_TEXT % (titles, attempts, limits)


def made_plan(attempts: int = 1, slices: Mapping[str, str] = SLICES) -> Plan:
    plan = plan_from_text(made_plan_text(attempts, slices), Path("plan.yaml")).plan
    assert plan is not None
    return plan


def made_fingerprint(cores: int = 2) -> Fingerprint:
    return Fingerprint(
        hardware=Hardware(cpu="Intel Xeon Processor (Sapphire Rapids)", cpu_features=digest("flags"), cores=cores, memory_bytes=8 << 30),
        software=Software(
            system="Linux 6.1, glibc 2.36", python="3.11.2", packages={"torch": "2.13.0", "transformers": "5.17.0"},
            runtime="llama.cpp b6000, AVX2, FMA",
        ),
        threads=2,
    )  # fmt: skip


@dataclass(frozen=True)
class Asked:
    """One made-up item: question, expected answer, and how a model gets it wrong."""

    id: str
    slice: str
    document: str
    prompt: str
    answer: str
    scorer: str
    mistake: str


def made_slices(count: int) -> dict[str, str]:
    """As many slices as wanted: the five of `SLICES`, then more of their kinds with long and short titles."""
    kinds = list(SLICES)
    more = {f"{kinds[k % 5]}_{k // 5}": f"{SLICES[kinds[k % 5]]}, {'in the words of customers from region' if k % 2 else 'set'} {k // 5}"
            for k in range(5, count)}  # fmt: skip
    return dict(list((SLICES | more).items())[:count])


def made_items(count: int, seed: int = 1, slices: Mapping[str, str] = SLICES) -> list[Asked]:
    """`count` items a slice, all different."""
    dice = random.Random(seed)
    found = []
    for name in slices:
        kind = next(kind for kind in SLICES if name.startswith(kind))
        for index in range(count):
            order = dice.randint(100, 999)
            goods = dice.sample(["clock", "bowl", "frame", "desk", "jar", "lamp", "mirror", "fan"], 3)
            prices = [dice.randint(5, 60) for _ in goods]
            total = sum(prices)
            question, answer, scorer, mistake = {
                "multi_step": (
                    f"order {order}: " + ", ".join(f"{g} {p}" for g, p in zip(goods, prices, strict=True)) + "\ntotal?\nanswer:",
                    f"{prices[0]}+{prices[1]}={prices[0] + prices[1]} {prices[0] + prices[1]}+{prices[2]}={total} total {total}",
                    "number", f"{prices[0]}+{prices[1]}={prices[0] + prices[1]} {prices[0] + prices[1]}+{prices[2]}={total + 10} total {total + 10}",
                ),
                "instructions": (
                    f"words: {' '.join(goods)}\nreverse the order, in capitals, with commas, end with done\nanswer:",
                    ", ".join(g.upper() for g in reversed(goods)) + " done", "exact", ", ".join(g.upper() for g in goods) + " done",
                ),
                "output_format": (
                    f"ticket from oscar: the yellow {goods[0]} of order {order} has the wrong price, write to us\njson?\nanswer:",
                    json.dumps({"order": order, "item": goods[0], "category": "billing", "priority": "normal"}), "json",
                    f'{{"order": {order}, "item": "{goods[0]}", "category": billing',
                ),
                "long_context": (
                    "\n".join(f"order {order + k}: {g} to lisbon on friday" for k, g in enumerate(goods)) + f"\norder {order + 1} item?\nanswer:",
                    goods[1], "exact", goods[0],
                ),
                "edge_cases": (f"order {order}\ntotal?\nanswer:", "no items", "exact", f"total {total}"),
            }[kind]  # fmt: skip
            found.append(Asked(f"{name}-{index:04}", name, f"{name}-doc-{index:04}", question, answer, scorer, mistake))
    return found


def made_arm(
    arm: Arm,
    asked: list[Asked],
    wrong: set[str],
    *,
    model: str,
    precision: str,
    hardest: Mapping[str, float] | None = None,
) -> ArmRun:
    """`wrong`: ids answered wrong. `hardest`: id -> loss of the expected answer."""
    items = tuple(
        ItemResult(
            id=item.id, slice=item.slice, cluster=item.document, score=0.0 if item.id in wrong else 1.0,
            response=item.mistake if item.id in wrong else item.answer, gold_loss_nats=(hardest or {}).get(item.id),
        )
        for item in asked
    )  # fmt: skip
    return ArmRun(
        arm=arm, runtime="transformers" if arm == "source" else "llama.cpp", precision=precision, model=model, split="gate",
        harness=digest("harness"), items=items, seconds=41.5, peak_resident_bytes=612 * MIB,
    )  # fmt: skip


def made_performance(scale: float = 1.0, weights_bytes: int = REFERENCE_BYTES) -> Performance:
    """`scale`: time against full precision."""
    return Performance(
        context_tokens=512, batch=4, threads=2, repeats=9,
        time_to_first_token_ms=Spread(p50=18.4 * scale, p95=21.2 * scale), time_per_token_ms=Spread(p50=1.62 * scale, p95=1.91 * scale),
        prompt_tokens_per_second=6120.0 / scale, generated_tokens_per_second=2431.0 / scale,
        weights_bytes=weights_bytes, cache_bytes=1 * MIB, peak_resident_bytes=weights_bytes + 21 * MIB,
    )  # fmt: skip


def flipped(asked: list[Asked], damage: Mapping[str, tuple[float, float]], wrong: set[str], seed: int = 3) -> set[str]:
    """The wrong answers after `damage` (slice -> shares lost and won): exact counts, chosen by `seed`."""
    dice = random.Random(seed)
    after = set(wrong)
    for name, (lost, won) in damage.items():
        ids = [item.id for item in asked if item.slice == name]
        after |= set(dice.sample([i for i in ids if i not in wrong], round(lost * len(ids))))
        was_wrong = [i for i in ids if i in wrong]
        after -= set(dice.sample(was_wrong, min(len(was_wrong), round(won * len(ids)))))
    return after


def made_manifest(kind: InputKind, **files: int) -> Manifest:
    """A manifest of files that exist nowhere: name -> size."""
    entries = tuple(FileEntry(path=name, size_bytes=size, sha256=digest(name)) for name, size in files.items())
    return Manifest.of(kind, kind, entries)


def made_inputs() -> Inputs:
    return Inputs(
        model=made_manifest("model", **{"model.safetensors": 10 * MIB, "config.json": 700}),
        calibration=made_manifest("calibration", **{"calibration.jsonl": 90_000}),
        evaluation=made_manifest("evaluation", **{"gate.jsonl": 800_000, "dev.jsonl": 200_000}),
        heldout=made_manifest("heldout", **{"heldout.jsonl": 60_000}),
    )


def made_baseline(asked: list[Asked], inputs: Inputs, wrong: set[str], hardest: Mapping[str, float]) -> Baseline:
    return Baseline(
        model=inputs.model.content, evaluation=inputs.evaluation.content, harness=digest("harness"), fingerprint=made_fingerprint(),
        precision="float32", source=made_arm("source", asked, wrong, model=inputs.model.content, precision="float32"),
        reference=made_arm("reference", asked, wrong, model=digest("reference.gguf"), precision="F32", hardest=hardest),
        hardest=tuple(hardest), difficulty="share of 4 answers sampled at temperature 0.8 that are right, fewest first",
        noise_floor=NoiseFloor(
            changed="batch 64 to 17, threads 2 to 1, items shuffled", items=500, flip_rate=0.002, max_drop_points=dict.fromkeys((item.slice for item in asked), 0.0)
        ),
        performance=made_performance(),
    )  # fmt: skip


def made_recipe(inputs: Inputs, kind: str) -> Recipe:
    return Recipe(
        format="gguf", type=kind, method="llama.cpp-quantize", bits_per_weight=4.5, bits_activations=16, group_size=32,
        importance_matrix=True, tensor_types={}, higher_precision=("norms, biases and other vectors: F32",),
        model=inputs.model.content, calibration=inputs.calibration.content, calibration_samples=256, calibration_tokens=512, seed=7,
        threads=2, versions={"llama-cpp-python": "0.3.36", "torch": "2.13.0"}, converter=digest("converter"),
    )  # fmt: skip


def made_artifact(recipe: Recipe, sha256: str, size_bytes: int) -> Artifact:
    tensors = {f"blk.{k}.{part}.weight": "Q4_K" for k in range(4) for part in ("attn_q", "attn_k", "ffn_up")}
    return Artifact(
        recipe=recipe.digest(), format="gguf", type=recipe.type, file_name=f"support-desk-{recipe.type}.gguf", sha256=sha256,
        size_bytes=size_bytes, bits_per_weight=4.93, tensors=tensors | {"output_norm.weight": "F32", "token_embd.weight": "Q6_K"},
        importance_matrix=digest("imatrix"), seconds=3.2, peak_resident_bytes=140 * MIB,
    )  # fmt: skip


def made_divergence(mean_kl: float) -> Divergence:
    return Divergence(
        tokens=48_213, mean_kl_nats=mean_kl, mean_kl_se=0.04 * mean_kl, p99_kl_nats=14 * mean_kl, max_kl_nats=60 * mean_kl,
        top1_agreement=1 - 0.6 * mean_kl, top1_se=0.0009, perplexity_reference=2.213, perplexity_candidate=2.213 * (1 + 0.4 * mean_kl),
        log_perplexity_ratio_se=0.0006,
    )  # fmt: skip


def made_envelope(chosen: str = "Q4_K_M") -> EnvelopeChoice:
    rows = [("Q4_K_M", 4.5, 3.63, True), ("Q4_0", 4.5, 3.41, True), ("Q8_0", 8.5, 5.9, False)]
    candidates = tuple(
        Candidate(
            format="gguf", type=kind, bits_per_weight=bits, weights_bytes=round(mib * MIB), cache_bytes=MIB, total_bytes=round((mib + 12) * MIB),
            fits=fits, rank=rank, reason="4 bits with the least loss" if rank == 1 else "smaller, a little worse" if fits else "5.9 MiB are more than the 4 MiB allowed",
        )
        for rank, (kind, bits, mib, fits) in enumerate(rows, 1)
    )  # fmt: skip
    return EnvelopeChoice(
        runtime="llama.cpp", chosen=next((c for c in candidates if c.type == chosen), candidates[0]), candidates=candidates,
        budget_bytes=64 * MIB, bottleneck="memory", reasons=("4 bits unless the plan justifies another.",), fingerprint=made_fingerprint(),
    )  # fmt: skip


def made_results(
    asked: list[Asked], plan: Plan, inputs: Inputs, damage: Mapping[str, tuple[float, float]], *, kind: str, sha256: str, size_bytes: int,
    attempt: int = 1,
) -> tuple[Baseline, Recipe, Artifact, Evaluation, Decision]:  # fmt: skip
    """A whole chain of records over `asked`, judged by the gate itself."""
    from quantplay.gate import decide

    dice = random.Random(11)
    wrong = {item.id for item in asked if dice.random() < 0.03}
    losses = {item.id: round(0.2 + dice.random(), 4) for item in dice.sample(asked, max(4, len(asked) // 10))}
    baseline = made_baseline(asked, inputs, wrong, losses)
    recipe = made_recipe(inputs, kind)
    artifact = made_artifact(recipe, sha256, size_bytes)
    kl = DIVERGENCES[kind]
    after = {key: round(loss + 2 * kl * (0.5 + dice.random()), 4) for key, loss in losses.items()}
    candidate = made_arm("candidate", asked, flipped(asked, damage, wrong), model=sha256, precision=kind, hardest=after)
    evaluation = Evaluation(
        baseline=digest("baseline key"), artifact=sha256, harness=baseline.harness, fingerprint=baseline.fingerprint,
        candidate=candidate, divergence=made_divergence(kl), performance=made_performance(0.86, size_bytes),
        reference_performance=made_performance(), hardest_loss_reference=losses, hardest_loss_candidate=after,
    )  # fmt: skip
    titles = {name: info.title for name, info in plan.evaluation.slices.items()}
    decision = decide(
        plan.gate, baseline, evaluation, envelope=plan.envelope, artifact=artifact, attempt=attempt, titles=titles
    )
    return baseline, recipe, artifact, evaluation, decision


def made_run(
    verdict: str = "pass", *, attempts: int = 1, items: int | None = None, slices: Mapping[str, str] = SLICES
) -> RunResults:
    """A run with this verdict, in memory; no package, no files."""
    plan, inputs = made_plan(attempts, slices), made_inputs()
    asked = made_items(items or ITEMS[verdict], slices=slices)
    kind = TYPES[verdict]
    baseline, recipe, artifact, evaluation, decision = made_results(
        asked, plan, inputs, DAMAGE[verdict], kind=kind, sha256=digest(kind), size_bytes=round(SIZES[kind] * MIB)
    )
    return RunResults(
        run="3f2a9c1e-5d07-4c5f-9b0e-6f0d2f1a7c11", plan=plan, outcome="locked" if verdict == "pass" else verdict, inputs=inputs,
        baseline=baseline, envelope=made_envelope(), recipe=recipe, artifact=artifact, evaluation=evaluation, decision=decision,
        attempts=(Attempt.of(artifact, evaluation, decision),),
        questions={item.id: Question(prompt=item.prompt, answer=item.answer) for item in asked},
    )  # fmt: skip


def gguf_bytes(metadata: Mapping[str, str]) -> bytes:
    """A GGUF file of text metadata and no tensors, version 3."""

    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value.encode())) + value.encode()

    entries = b"".join(text(key) + struct.pack("<I", 8) + text(value) for key, value in metadata.items())
    return b"GGUF" + struct.pack("<IQQ", 3, 0, len(metadata)) + entries


def write_lines(path: Path, rows: list[dict[str, str]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def safetensors_bytes() -> bytes:
    header = json.dumps({"weight": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(8)


def made_package(folder: Path, *, items: int = 120) -> PackageContents:
    """A passing run whose files exist below `folder`, ready to be packed: a toy model, data sets, an artifact."""
    plan = made_plan()
    asked = made_items(items)
    model = folder / "model"
    model.mkdir(parents=True)
    (model / "config.json").write_text('{"model_type": "llama"}')
    (model / "tokenizer.json").write_text("{}")
    (model / "model.safetensors").write_bytes(safetensors_bytes())
    rows = [
        {
            "id": a.id,
            "slice": a.slice,
            "document": a.document,
            "prompt": a.prompt,
            "answer": a.answer,
            "scorer": a.scorer,
        }
        for a in asked
    ]
    texts = [{"id": f"text-{k}", "text": f"order {k} day?"} for k in range(4)]
    gate, dev = write_lines(folder / "gate.jsonl", rows), write_lines(folder / "dev.jsonl", rows[:5])
    calibration, heldout = (
        write_lines(folder / "calibration.jsonl", texts),
        write_lines(folder / "heldout.jsonl", texts),
    )
    files = {
        "calibration": {"calibration.jsonl": calibration},
        "evaluation": {"gate.jsonl": gate, "dev.jsonl": dev},
        "heldout": {"heldout.jsonl": heldout},
    }
    inputs = Inputs(
        model=manifest_of_model(model, "model"),
        calibration=manifest_of_files("calibration", files["calibration"], "calibration.jsonl"),
        evaluation=manifest_of_files("evaluation", files["evaluation"], "gate.jsonl"),
        heldout=manifest_of_files("heldout", files["heldout"], "heldout.jsonl"),
    )
    recipe = made_recipe(inputs, "Q4_K_M")
    data = gguf_bytes({"general.name": "support desk", "quantplay.recipe": recipe.digest()})
    artifact_file = folder / "candidate.gguf"
    artifact_file.write_bytes(data)
    baseline, recipe, artifact, evaluation, decision = made_results(
        asked, plan, inputs, {}, kind="Q4_K_M", sha256=digest_of_bytes(data), size_bytes=len(data)
    )
    return PackageContents(
        run="3f2a9c1e-5d07-4c5f-9b0e-6f0d2f1a7c11", plan=plan, plan_text=made_plan_text(), inputs=inputs, baseline=baseline,
        baseline_key=evaluation.baseline, envelope=made_envelope(), recipe=recipe, artifact=artifact, artifact_file=artifact_file,
        evaluation=evaluation, decision=decision, attempts=(Attempt.of(artifact, evaluation, decision),),
        environment=("numpy==2.4.6", "torch==2.13.0"), sources=source_files(inputs, model=model, **files), questions=read_questions(gate),
        seconds={"baseline": 92.5, "ptq": 3.2}, locked_at="2026-11-21T03:00:00+00:00",
    )  # fmt: skip
