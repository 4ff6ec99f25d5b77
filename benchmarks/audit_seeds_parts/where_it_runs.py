"""Seeds of the mistakes about where a model runs: no kernel support, not measured on the target."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.audit_seeds_parts.asked_too_little import relooked, waived
from benchmarks.audit_seeds_parts.built import A100, EPYC, H100, T4, VLLM, Try, fingerprint_of
from benchmarks.audit_seeds_parts.cases import Case, Told
from benchmarks.audit_seeds_parts.written import Ending, Measured, Seed
from quantplay.digest import digest_of
from quantplay.records import Candidate, Digest, Evaluation, Revalidation, Spread, StackChange, StandingStatus

XEON = "Intel Xeon Platinum 8480+"
LAPTOP = "12th Gen Intel(R) Core(TM) i7-1260P"


def revalidated(
    told: Told, package: Digest, *, chip: str, status: StandingStatus, changes: tuple[StackChange, ...] = (), measured: bool = True
) -> Measured:  # fmt: skip
    """The locked package measured again on `chip`; not measured: only noticed that the stack is another."""
    then = told.last.evaluation
    now = then.model_copy(update={"fingerprint": fingerprint_of(chip, told.plan.envelope.runtime)})
    found = Revalidation(
        package=package, artifact=then.artifact, evaluation=digest_of({"locked": package}), trigger="stack.upgraded",
        at="2026-11-20T09:00:00+00:00", status=status, reasons=("Measured again." if measured else "Not measured since the stack changed.",),
        stack_then=then.fingerprint.digest(), stack_now=now.fingerprint.digest(), stack=now.fingerprint, changes=changes,
        harness_then=then.harness, harness_now=then.harness, measured=digest_of({"again": package}) if measured else None,
        items=len(then.candidate.items) if measured else 0, lost=0, won=0, responses_changed=0, slices=(),
        against_baseline="pass" if measured else None, envelope=(), alarms=(), divergence_then=then.divergence,
        divergence_now=then.divergence if measured else None, performance_then=then.performance,
        performance_now=then.performance if measured else None,
    )  # fmt: skip
    return found, now if measured else None


# --- no kernel support --------------------------------------------------------------------------------------------------


def unpredicted(told: Told) -> Told:
    """Play 2 as versions before the planner wrote it."""

    def plain(one: Candidate) -> Candidate:
        return one.model_copy(update={"prediction": None})

    envelope = told.envelope.model_copy(
        update={
            "machine": None, "full_precision": None, "chosen": plain(told.envelope.chosen),
            "candidates": tuple(plain(one) for one in told.envelope.candidates),
        }
    )  # fmt: skip
    return replace(told, envelope=envelope)


def fell_back(told: Told) -> Told:
    """Three times full precision's time per token, measured turn by turn with it."""
    slow = Spread(p50=60, p95=75)

    def slower(one: Evaluation) -> Evaluation:
        rate = {"time_per_token_ms": slow, "generated_tokens_per_second": 1000 * one.performance.batch / slow.p50}
        return one.model_copy(update={"performance": one.performance.model_copy(update=rate)})

    return relooked(told, evaluation=slower)


NO_KERNEL_SUPPORT = (
    Seed(
        name="four-bits-on-turing",
        says="GPTQ's 4 bits in vLLM on a T4, for which its fused kernel is not built: every weight is unpacked before every use.",
        expected={"no_kernel_support": False},
        case=Case(chip=T4, plan=VLLM, tries=(Try(type="GPTQ_INT4"),)),
    ),
    Seed(
        name="fp8-on-ampere",
        says="FP8 on an A100, which has no 8-bit float units.",
        kind="package",
        expected={"no_kernel_support": False},
        also=frozenset({"format_mismatch"}),  # FP8 where native, says the mission
        case=Case(chip=A100, plan=VLLM, tries=(Try(type="FP8_DYNAMIC"),)),
    ),
    Seed(
        name="int8-without-integer-kernels",
        says="INT8 in vLLM on an MI300X, where the runtime has no integer kernels for it.",
        expected={"no_kernel_support": False},
        also=frozenset({"format_mismatch"}),  # INT8 where integer kernels are strong
        case=Case(chip="AMD Instinct MI300X", plan=VLLM, tries=(Try(type="W8A8"),)),
    ),
    Seed(
        name="wrong-move-waived",
        says="Play 2 answered that no candidate has a kernel there and no time is won; the plan waives that for want of another card.",
        expected={"no_kernel_support": True},
        case=Case(
            chip=T4, tries=(Try(type="W4A16"),),
            wrong_moves=("No native support: no candidate has a kernel of its own on this chip, so no time is won.",),
            plan=VLLM | {"envelope.bottleneck": "latency"}
            | waived("envelope.wrong_move", reason="The cards are replaced in March; until then speed is given up."),
        ),
    ),
    Seed(
        name="unplanned-gptq-in-transformers",
        says="GPTQ in plain transformers on an A100, recorded before there was a planner: only type, runtime and chip tell.",
        expected={"no_kernel_support": False},
        case=Case(
            chip=A100, plan={"envelope.runtime": "transformers", "envelope.device": "gpu"}, tries=(Try(type="GPTQ_INT4"),)
        ),
        told=unpredicted,
    ),
    Seed(
        name="measured-fall-back",
        says="A kernel was predicted, but measured turn by turn a token takes three times as long as at full precision: a quiet fall-back.",
        kind="package",
        expected={"no_kernel_support": False},
        case=Case(chip=H100, plan=VLLM, tries=(Try(type="W4A16"),)),
        told=fell_back,
    ),
)  # fmt: skip

# --- not measured on the target -----------------------------------------------------------------------------------------


def candidate_on_a_laptop(told: Told) -> Told:
    """Baseline on the target, candidate elsewhere; decisions of that version did not say where."""
    return relooked(
        told,
        evaluation=lambda one: one.model_copy(update={"fingerprint": fingerprint_of(LAPTOP, "llama.cpp")}),
        decision=lambda one: one.model_copy(update={"target": None}),
    )


NOT_MEASURED_ON_TARGET = (
    Seed(
        name="other-chip-waived",
        says="It will be served on a Xeon and was measured on an EPYC; the plan gives a reason.",
        expected={"not_measured_on_target": True},
        case=Case(
            plan={"envelope.target_chip": XEON} | waived("envelope.target_chip", reason="The serving machines arrive in January.")
        ),
    ),
    Seed(
        name="other-chip-internal",
        says="The same without a word: profile internal lets it run and only flags it.",
        kind="package",
        expected={"not_measured_on_target": False},
        case=Case(plan={"profile": "internal", "envelope.target_chip": XEON}),
    ),
    Seed(
        name="candidate-on-a-laptop",
        says="The baseline was measured on the target and the candidate on a laptop (an earlier version did not compare them).",
        expected={"not_measured_on_target": False},
        told=candidate_on_a_laptop,
    ),
    Seed(
        name="gpu-plan-measured-without-gpu",
        says="The plan serves on a GPU; it was measured on a machine that has none, and `this machine` as the target hides it.",
        expected={"not_measured_on_target": False},
        case=Case(plan={"envelope.device": "gpu", "envelope.target_chip": "this machine"}),
    ),
    Seed(
        name="any-chip-is-the-target",
        says="The target chip is `*`: whatever it was measured on counts as the chip that serves, so no chip was named at all.",
        kind="package",
        expected={"not_measured_on_target": False},
        case=Case(plan={"envelope.target_chip": "*"}),
    ),
    Seed(
        name="moved-and-not-measured-since",
        says="The stack moved from the EPYC to a Xeon after the lock; the re-validation is stale, nothing was measured there.",
        kind="package",
        expected={"not_measured_on_target": False},
        ending=Ending(
            revalidated=lambda told, package: revalidated(
                told, package, chip=XEON, status="stale", measured=False,
                changes=(StackChange(what="processor", before=EPYC, now=XEON),),
            )
        ),
    ),
)  # fmt: skip

WHERE_IT_RUNS: tuple[Seed, ...] = (*NO_KERNEL_SUPPORT, *NOT_MEASURED_ON_TARGET)
