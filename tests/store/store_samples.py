"""Records to store: complete, small, and different for a different seed."""

from __future__ import annotations

import random

from quantplay.digest import digest_of
from quantplay.plan import Plan
from quantplay.records import (
    Arm,
    ArmRun,
    Artifact,
    Baseline,
    CalibrationCheck,
    CalibrationFinding,
    Candidate,
    CurvePoint,
    Decision,
    Divergence,
    EnvelopeChoice,
    Evaluation,
    FileEntry,
    Fingerprint,
    GroupSensitivity,
    Hardware,
    ItemResult,
    Manifest,
    NoiseFloor,
    PackageRef,
    Performance,
    Recipe,
    ScanPart,
    Sensitivity,
    SliceVerdict,
    Software,
    Spread,
    Training,
    TrainingSettings,
    TypeDamage,
)
from quantplay.store.incidents import Lesson

ODD_RESPONSES = ("", "a\tb\\N\n", "\\.", "ünï 💡", "nul \0 inside", "\x01\x1f", "line\r\nend", '{"a": "\\u0000"}')


def digest(name: object) -> str:
    return digest_of({"test": name})


LESSON = Lesson(text="Drivers are pinned.", folded_into="standard", where="standards 3")
FINGERPRINT = Fingerprint(
    hardware=Hardware(cpu="a cpu", cpu_features=digest("flags"), cores=2, memory_bytes=8 << 30),
    software=Software(system="linux", python="3.11", packages={"torch": "2.13.0"}, runtime="llama.cpp b1"),
    threads=1,
)
PERFORMANCE = Performance(
    context_tokens=512,
    batch=1,
    threads=1,
    repeats=3,
    time_to_first_token_ms=Spread(p50=1.25, p95=2.5),
    time_per_token_ms=Spread(p50=0.1, p95=1e-7),
    prompt_tokens_per_second=1e16,
    generated_tokens_per_second=123.456789012345,
    weights_bytes=10,
    cache_bytes=20,
    peak_resident_bytes=2**40,
)


def arm_run(arm: Arm, count: int, seed: int = 0) -> ArmRun:
    random_numbers = random.Random(f"{seed} {arm}")
    items = [
        ItemResult(
            id=f"item-{number:05}",
            slice=f"slice-{number % 5}",
            cluster=f"document-{number // 3}",
            score=random_numbers.random() if number % 2 else float(number % 4 == 0),
            graded=bool(number % 2),
            response=ODD_RESPONSES[number] if number < len(ODD_RESPONSES) else f"answer {random_numbers.random()}",
            gold_loss_nats=random_numbers.expovariate(1) if number % 7 == 0 else None,
        )
        for number in range(count)
    ]
    return ArmRun(
        arm=arm,
        runtime="llama.cpp",
        precision="float32",
        model=digest("model"),
        split="gate",
        harness=digest("harness"),
        items=tuple(items),
        seconds=1.5,
        peak_resident_bytes=1 << 30,
    )


def baseline(count: int = 20, seed: int = 0) -> Baseline:
    return Baseline(
        model=digest("model"),
        evaluation=digest("evaluation"),
        harness=digest("harness"),
        fingerprint=FINGERPRINT,
        precision="float32",
        source=arm_run("source", count, seed),
        reference=arm_run("reference", count, seed),
        hardest=("item-00001",),
        difficulty="pass rate",
        noise_floor=NoiseFloor(changed="batch", items=count, flip_rate=0.0, max_drop_points={"slice-0": -0.0}),
        performance=PERFORMANCE,
    )


def evaluation(count: int = 20, seed: int = 0) -> Evaluation:
    return Evaluation(
        baseline=digest("baseline"),
        artifact=digest("artifact"),
        harness=digest("harness"),
        fingerprint=FINGERPRINT,
        candidate=arm_run("candidate", count, seed),
        divergence=Divergence(
            tokens=100,
            mean_kl_nats=0.01,
            mean_kl_se=0.001,
            p99_kl_nats=0.1,
            max_kl_nats=1.0,
            top1_agreement=0.98,
            top1_se=0.01,
            perplexity_reference=5.0,
            perplexity_candidate=5.1,
            log_perplexity_ratio_se=0.01,
        ),
        performance=PERFORMANCE,
        reference_performance=PERFORMANCE,
        hardest_loss_reference={"item-00001": 0.5},
        hardest_loss_candidate={"item-00001": 0.75},
    )


def manifest(source: str = "../model") -> Manifest:
    return Manifest.of("model", source, (FileEntry(path="a/b.json", size_bytes=3, sha256=digest("b")),))


def calibration_check() -> CalibrationCheck:
    finding = CalibrationFinding(
        rule="calibration.count", what="90 samples are too few.", value="90 samples", allowed="128 to 512",
        samples=("ü 1", "2"), waiver="There are no more.",
    )  # fmt: skip
    return CalibrationCheck(
        calibration=digest("calibration"), samples=90, findings=(finding,), figures={"samples": 90.0, "share": 1 / 3}
    )


def envelope() -> EnvelopeChoice:
    chosen = Candidate(
        format="gguf",
        type="Q4_K_M",
        bits_per_weight=4.5,
        weights_bytes=1,
        cache_bytes=1,
        total_bytes=2,
        fits=True,
        rank=1,
        reason="first",
    )
    return EnvelopeChoice(
        runtime="llama.cpp",
        chosen=chosen,
        candidates=(chosen,),
        budget_bytes=None,
        bottleneck="memory",
        reasons=("fits",),
        fingerprint=FINGERPRINT,
    )


def recipe() -> Recipe:
    return Recipe(
        format="gguf",
        type="Q4_K_M",
        method="llama.cpp-quantize",
        bits_per_weight=4.5,
        bits_activations=16,
        group_size=32,
        importance_matrix=True,
        tensor_types={"z": "Q8_0", "a": "Q6_K"},
        higher_precision=(),
        model=digest("model"),
        calibration=digest("calibration"),
        calibration_samples=256,
        calibration_tokens=512,
        seed=0,
        threads=1,
        versions={"llama-cpp-python": "0.3.36"},
        converter=digest("converter"),
    )


def artifact() -> Artifact:
    return Artifact(
        recipe=digest("recipe"),
        format="gguf",
        type="Q4_K_M",
        file_name="m.gguf",
        sha256=digest("file"),
        size_bytes=2**33,
        bits_per_weight=4.57,
        tensors={"t": "Q4_K"},
        importance_matrix=None,
        seconds=2.0,
        peak_resident_bytes=5,
    )


def decision() -> Decision:
    verdict = SliceVerdict(
        slice="slice-0",
        metric="score",
        unit="points",
        verdict="pass",
        reason="within",
        items=600,
        clusters=200,
        baseline=95.0,
        candidate=95.0,
        drop=-0.0,
        interval_low=-1.0,
        interval_high=1.0,
        upper=1.0,
        lower_holm=-1.0,
        max_drop=2.0,
        broken_drop=10.0,
        lost=3,
        won=3,
        mcnemar_p=1.0,
    )
    return Decision(
        verdict="pass",
        envelope_met=True,
        reasons=("all within",),
        next_play="lock",
        slices=(verdict,),
        envelope=(),
        alarms=(),
        gate=digest("gate"),
        baseline=digest("baseline"),
        evaluation=digest("evaluation"),
        attempt=1,
        attempts=1,
        alpha=0.05,
    )


def scan_part() -> ScanPart:
    return ScanPart(
        scan=digest("scan"), part=0, parts=2, measured={"base": [0.1, -0.0, 1 / 3], "units": {"output": None}}
    )


def sensitivity() -> Sensitivity:
    damage = TypeDamage(
        kind="Q2_K", stored_bytes=84, weight_error=0.1, mean_kl_nats=1 / 3, mean_kl_se=0.01, low_nats=0.3, high_nats=0.4,
        how="measured", sequences=8,
    )  # fmt: skip
    group = GroupSensitivity(
        group="output", tensors=("output.weight",), block=None, weights=256, full_bytes=1024, types=(damage,)
    )
    return Sensitivity(
        model=digest("model"), importance=None, rows=digest("rows"), sequences=8, tokens=64, positions=32, types=("Q2_K",),
        high="Q2_K", low="Q2_K", base="Q2_K", groups=(group,), base_kl_nats=0.4, base_kl_se=0.01, checks=(), exact_groups=1,
        block_forward_tokens=100, full_scan_block_forward_tokens=1000, seconds=1.5, peak_resident_bytes=5,
    )  # fmt: skip


def training() -> Training:
    point = CurvePoint(step=0, loss=0.5, dev_kl_nats=1 / 3, dev_top1=0.9)
    return Training(
        artifact=digest("file"), model=digest("model"), data=digest("data"), dev=digest("dev"),
        settings=TrainingSettings(steps=10, learning_rate=0.001), precision="float32", device="cpu", kinds={"t": "Q4_0"}, texts=9,
        tokens=900, tokens_seen=400, curve=(point,), steps_done=10, chosen_step=0, stopped_early=False, weights=digest("weights"),
        size_bytes=4, seconds=2.0, peak_resident_bytes=7,
    )  # fmt: skip


def package() -> PackageRef:
    return PackageRef(run="r", path="/p", manifest=digest("manifest"), archive=None, size_bytes=1)


def plan(name: str = "desk", max_drop: float = 2.0) -> Plan:
    return Plan.model_validate(
        {
            "schema": 1,
            "name": name,
            "use_case": "answers tickets",
            "profile": "internal",
            "model": {"source": "model"},
            "calibration": {"file": "calibration.jsonl"},
            "evaluation": {
                "gate": "gate.jsonl",
                "dev": "dev.jsonl",
                "heldout": "text.jsonl",
                "slices": {"sums": {"title": "Sums"}},
            },
            "envelope": {},
            "gate": {
                "slices": {"sums": {"max_drop": max_drop, "broken_drop": 10}},
                "hardest": {"max_drop": 5, "broken_drop": 15, "max_loss_rise": 0.1, "broken_loss_rise": 0.5},
            },
            "owners": {"ml_engineer": "a@example.com", "product_owner": "b@example.com"},
        }
    )
