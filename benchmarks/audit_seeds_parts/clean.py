"""Runs that make none of the seven mistakes, as different as they come; some come near one."""

from __future__ import annotations

from benchmarks.audit_seeds_parts.asked_too_little import BUSINESS_CASE, TRAINING, waived
from benchmarks.audit_seeds_parts.built import A100, EPYC, H100, VLLM, Try
from benchmarks.audit_seeds_parts.cases import Case, run_of
from benchmarks.audit_seeds_parts.measured import Answers
from benchmarks.audit_seeds_parts.sets import Asked, made_up, own_tasks
from benchmarks.audit_seeds_parts.where_it_runs import XEON, revalidated
from benchmarks.audit_seeds_parts.written import Ending, Release, Seed
from quantplay.records import StackChange

SHORT = Answers(lost=30)  # a quarter of a slice's answers: broken
NEARLY = Answers(lost=12)  # close
UNTRIED = ("calibration", "baseline", "envelope")

CLEAN: tuple[Seed, ...] = (
    Seed(name="clean-desk", says="Four bits on the processor that serves it, everything signed and archived.", kind="package"),
    Seed(
        name="clean-update", says="New weights under the data, harness, envelope and gate of that run.", kind="package",
        case=Case(plan={"updates": str(run_of("clean-desk")), "model.source": "models/desk-2"}),
    ),
    Seed(
        name="clean-three-bits-trained",
        says="Three bits broke, training was planned, weighed and signed beforehand, and the trained file of three bits passed.",
        case=Case(
            plan={"business_case": BUSINESS_CASE, "training": TRAINING},
            tries=(Try(type="Q3_K_M", answers=SHORT), Try(type="Q3_K_M", trained=True)),
        ),
        ending=Ending(plays=(*Ending().plays, "training")),
    ),
    Seed(
        name="clean-three-bits-with-a-plan",
        says="Three bits within a tight quality budget, training planned in case it breaks; it did not.", kind="package",
        case=Case(plan={"business_case": BUSINESS_CASE, "training": TRAINING}, tries=(Try(type="Q3_K_M"),)),
    ),
    Seed(
        name="clean-tickets-from-another-folder",
        says="Calibration texts from another team's archive, which the check found to be like the traffic.",
        case=Case(plan={"calibration.file": "../../archive/other-team/tickets-2025.jsonl"}),
    ),
    Seed(
        name="clean-few-samples-waived", says="96 samples of a rare domain, with the reason: few is not generic.",
        case=Case(plan={"calibration.samples": 96} | waived("calibration.count", reason="There are no more such tickets yet.")),
    ),
    Seed(
        name="clean-templated-tickets-waived", says="Tickets that differ in a number, as tickets do, with the reason.", kind="package",
        case=Case(
            calibration="alike", plan=waived("calibration.near_duplicates", reason="Tickets are made from a template.")
        ),
    ),
    Seed(
        name="clean-no-traffic-sample", says="The team's own tickets; no sample of traffic yet to compare with, profile internal.",
        kind="package", case=Case(traffic=None, plan={"profile": "internal", "calibration.file": "desk/tickets-2026-10.jsonl"}),
    ),
    Seed(
        name="clean-w4a16-hopper", says="GPTQ's 4 bits in vLLM on the H100 that serves it; nobody is named on call yet, and nothing is released.", kind="package",
        case=Case(chip=H100, plan=VLLM | {"owners.on_call": None}, tries=(Try(type="W4A16"),)),
    ),
    Seed(
        name="clean-awq-canary", says="AWQ in vLLM on an A100, the target named by a pattern that leaves the make open, at 5 % of traffic.",
        kind="endpoint", case=Case(chip=A100, plan=VLLM | {"envelope.target_chip": "NVIDIA A100*"}, tries=(Try(type="W4A16_AWQ"),)),
        ending=Ending(release=Release()),
    ),
    Seed(
        name="clean-fp8-hopper", says="FP8 where it is native.",
        case=Case(chip=H100, plan=VLLM | {"envelope.bottleneck": "throughput", "envelope.batch": 32}, tries=(Try(type="FP8_DYNAMIC"),)),
    ),
    Seed(
        name="clean-int8-ampere", says="INT8 with SmoothQuant where integer units are strong.",
        case=Case(chip=A100, plan=VLLM, tries=(Try(type="W8A8"),)),
    ),
    Seed(
        name="clean-five-bits-served", says="Five bits behind llama.cpp's server on a processor, with limits on latency, both met.",
        kind="package",
        case=Case(
            plan={
                "envelope.runtime": "llama.cpp-server", "envelope.max_time_to_first_token_ms": 200, "envelope.max_slowdown": 1.0,
                "envelope.bottleneck": "latency",
            },
            tries=(Try(type="Q5_K_M"),),
        ),
    ),
    Seed(
        name="clean-mixed-precision",
        says="Four bits came close; bytes were moved, a few matrices went down to Q3_K and more went up: 4.7 bits on the whole.",
        case=Case(
            tries=(
                Try(answers=NEARLY),
                Try(tensor_types={"blk.0.attn_k": "Q3_K", "ffn_down": "Q6_K", "attn_v": "Q6_K"}, bits=4.7),
            )
        ),
    ),
    Seed(
        name="clean-declined", says="Play 2 said that it is small enough already, and it was left at that: there is nothing to evaluate.",
        case=Case(wrong_moves=("Already small enough: full precision meets every limit of the plan.",)),
        ending=Ending(outcome="declined", left_at="envelope", plays=UNTRIED),
    ),
    Seed(
        name="clean-little-volume-waived", says="Too little volume to save anything, said play 2; it is wanted for laptops all the same.",
        case=Case(
            wrong_moves=("Too little volume: 200 requests a day save 3.00 USD in 12 months, and quantizing costs 500.00.",),
            plan=waived("envelope.wrong_move", reason="It has to fit the laptops of the field staff, whatever it saves."),
        ),
    ),
    Seed(
        name="clean-broken", says="The gate said broken and the run ended there: nothing was shipped.",
        case=Case(tries=(Try(answers=SHORT),)), ending=Ending(outcome="broken", left_at="ptq"),
    ),
    Seed(
        name="clean-measured-there-later",
        says="Measured on another chip for a reason, and measured again on the declared one, with the locked bytes: confirmed.",
        kind="package",
        case=Case(
            plan={"envelope.target_chip": XEON} | waived("envelope.target_chip", reason="The serving machines arrive in January.")
        ),
        ending=Ending(
            revalidated=lambda told, package: revalidated(
                told, package, chip=XEON, status="confirmed", changes=(StackChange(what="processor", before=EPYC, now=XEON),)
            )
        ),
    ),
    Seed(
        name="clean-public-benchmark-beside", says="MMLU as one more slice beside the team's own five.",
        case=Case(
            asked=Asked(
                {**own_tasks().items, **made_up(("mmlu",), "Question {n} of {slice}: A, B, C or D?\nAnswer:", "A").items}
            ),
            plan={"evaluation.tasks": ["mmlu.yaml"]},
        ),
    ),
    Seed(
        name="clean-one-wide-tolerance", says="One slice that nobody depends on may lose 20 points; all others four.", kind="package",
        case=Case(plan={"gate.slices.edge_cases": {"max_drop": 20.0, "broken_drop": 40.0}}),
    ),
    Seed(
        name="clean-fully-live", says="Ramped up in four steps under strict rules, a holdback left on full precision.", kind="endpoint",
        case=Case(plan={"rollback_rules": {"ceilings": {"error": 0.02}, "max_decode_slowdown": 1.1}}),
        ending=Ending(release=Release(shares=(0.05, 0.25, 0.5, 1.0))),
    ),
    Seed(
        name="clean-taken-back", says="The judge took it back from a quarter of the traffic: the rollback plan worked.", kind="endpoint",
        ending=Ending(release=Release(shares=(0.05, 0.25), rolled_back="downstream errors rose to twice full precision's")),
    ),
    Seed(
        name="clean-under-way", says="The baseline is measured, nothing is built yet: it is too early for any mistake.",
        ending=Ending(outcome=None, plays=("calibration", "baseline")),
    ),
)  # fmt: skip
