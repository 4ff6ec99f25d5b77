"""Seeds of a format that does not fit the target, and of a way back that is none."""

from __future__ import annotations

from benchmarks.audit_seeds_parts.asked_too_little import relooked, waived
from benchmarks.audit_seeds_parts.built import H100, VLLM, Try
from benchmarks.audit_seeds_parts.cases import Case, Told
from benchmarks.audit_seeds_parts.written import Ending, Release, Seed
from quantplay.digest import digest_of
from quantplay.records.rollback_rules import SIGNALS
from quantplay.records.traffic import PolicyRevision

# --- format mismatched to the target ------------------------------------------------------------------------------------


def gguf_in_llama_cpp(told: Told) -> Told:
    """The GGUF file could only be measured where it loads."""
    return relooked(
        told,
        evaluation=lambda one: one.model_copy(
            update={"candidate": one.candidate.model_copy(update={"runtime": "llama.cpp"})}
        ),
    )


def converted_from_gptq(told: Told) -> Told:
    made = {"format": "gptq", "type": "GPTQ_INT4", "method": "gptqmodel", "group_size": 128, "importance_matrix": False}
    return relooked(told, recipe=lambda one: one.model_copy(update=made))


def gptq_all_through(told: Told) -> Told:
    kind = {"format": "gptq", "type": "GPTQ_INT4"}
    return relooked(
        told,
        recipe=lambda one: one.model_copy(update={**kind, "method": "gptqmodel", "importance_matrix": False}),
        artifact=lambda one: one.model_copy(update=kind),
    )


def served_by_vllm(policy: PolicyRevision) -> PolicyRevision:
    return policy.model_copy(update={"quantized": policy.quantized.model_copy(update={"build": "vllm 0.15.0"})})


FORMAT_MISMATCH = (
    Seed(
        name="gguf-for-vllm",
        says="The plan serves with vLLM; what was made is GGUF, measured in llama.cpp (today's check refuses such a plan).",
        expected={"format_mismatch": False},
        also=frozenset({"not_measured_on_target"}),  # nothing was measured in the runtime that serves
        case=Case(chip=H100, plan=VLLM, tries=(Try(type="Q4_K_M"),)),
        told=gguf_in_llama_cpp,
    ),
    Seed(
        name="converted-afterwards",
        says="The recipe makes GPTQ, the served file is GGUF: quantized in one format and converted to another.",
        kind="package",
        expected={"format_mismatch": False},
        case=Case(tries=(Try(type="Q4_0"),)),
        told=converted_from_gptq,
    ),
    Seed(
        name="awq-on-a-processor",
        says="AWQ, which is made for GPU kernels, on a processor, where nothing multiplies it as it is; nobody gave a reason.",
        expected={"format_mismatch": False, "no_kernel_support": False},
        case=Case(plan={"envelope.runtime": "transformers", "profile": "internal"}, tries=(Try(type="W4A16_AWQ"),)),
    ),
    Seed(
        name="packed-on-a-processor-waived",
        says="The same with W4A16, and the plan gives a reason for the format.",
        expected={"format_mismatch": True, "no_kernel_support": True},
        case=Case(
            plan={"envelope.runtime": "transformers"}
            | waived("envelope.format", reason="The evaluation team's scripts load transformers only."),
            tries=(Try(type="W4A16"),),
        ),
    ),
    Seed(
        name="gguf-for-a-busy-gpu-waived",
        says="GGUF in llama.cpp's server for 64 requests at a time on an H100, where throughput is to be won; the plan gives a reason.",
        kind="package",
        expected={"format_mismatch": True},
        case=Case(
            chip=H100,
            plan={
                "envelope.runtime": "llama.cpp-server", "envelope.device": "gpu", "envelope.batch": 64, "envelope.bottleneck": "throughput",
            } | waived("envelope.format", reason="One container image for laptops and servers."),
        ),
    ),
    Seed(
        name="endpoint-served-by-vllm",
        says="The package holds GGUF for llama.cpp; the policy's quantized arm has to be a vLLM build.",
        kind="endpoint",
        expected={"format_mismatch": False},
        ending=Ending(release=Release(policy=served_by_vllm)),
    ),
    Seed(
        name="gptq-for-llama-cpp",
        says="Play 2 chose GGUF for llama.cpp; recipe and artifact are GPTQ, which it can't load (registered by hand).",
        expected={"format_mismatch": False},
        also=frozenset({"no_kernel_support"}),  # there is none for it on a processor
        told=gptq_all_through,
    ),
)  # fmt: skip

# --- no rollback plan ---------------------------------------------------------------------------------------------------


def both_arms_quantized(policy: PolicyRevision) -> PolicyRevision:
    same = policy.full_precision.model_copy(update={"artifact": policy.quantized.artifact})
    return policy.model_copy(update={"full_precision": same})


def back_to_another_model(policy: PolicyRevision) -> PolicyRevision:
    other = policy.full_precision.model_copy(update={"artifact": digest_of("last year's model")})
    return policy.model_copy(update={"full_precision": other})


def one_server(policy: PolicyRevision) -> PolicyRevision:
    same = policy.full_precision.model_copy(update={"url": policy.quantized.url, "model": policy.quantized.model})
    return policy.model_copy(update={"full_precision": same})


NO_ROLLBACK_PLAN = (
    Seed(
        name="weights-not-protected",
        says="The lock protected the data sets and the artifact, but not the full-precision weights (an earlier version did not).",
        kind="package",
        expected={"no_rollback_plan": False},
        ending=Ending(pinned=lambda kind, entry: kind != "model"),
    ),
    Seed(
        name="one-shard-not-protected",
        says="Of three files of full-precision weights one is not protected against deletion: what is left serves nobody.",
        expected={"no_rollback_plan": False},
        case=Case(shards=3),
        ending=Ending(pinned=lambda kind, entry: entry.path != "model-00002-of-00003.safetensors"),
    ),
    Seed(
        name="weights-are-gone",
        says="The full-precision weights are protected on paper, but a clean-up of the bucket took them from the artifact store.",
        kind="package",
        expected={"no_rollback_plan": False},
        ending=Ending(stored=lambda kind, entry: kind != "model" or entry.path == "config.json"),
    ),
    Seed(
        name="way-back-is-the-same-file",
        says="Both arms of the endpoint serve the quantized file: a rollback changes nothing (the policy was written by hand).",
        kind="endpoint",
        expected={"no_rollback_plan": False},
        ending=Ending(release=Release(policy=both_arms_quantized)),
    ),
    Seed(
        name="way-back-is-another-model",
        says="The full-precision arm serves a file that no baseline measured: the way back leads somewhere else.",
        kind="endpoint",
        expected={"no_rollback_plan": False},
        ending=Ending(release=Release(policy=back_to_another_model)),
    ),
    Seed(
        name="one-server-for-both-arms",
        says="Both arms are one model of one server: whoever is taken back stays where they were.",
        kind="endpoint",
        expected={"no_rollback_plan": False},
        ending=Ending(release=Release(policy=one_server)),
    ),
    Seed(
        name="rules-that-never-act",
        says="Every limit of the rollback rules is as wide as it can be written: no error rate below 99 % ever takes the model back.",
        kind="endpoint",
        expected={"no_rollback_plan": False},
        case=Case(
            plan={
                "rollback_rules": {
                    "tolerated_ratio": dict.fromkeys(SIGNALS, 10.0), "ceilings": dict.fromkeys(SIGNALS, 0.99), "negligible": 0.99,
                    "max_decode_slowdown": 10.0, "blind_minutes": 1440,
                }
            }
        ),
        ending=Ending(release=Release()),
    ),
)  # fmt: skip

HOW_IT_SERVES: tuple[Seed, ...] = (*FORMAT_MISMATCH, *NO_ROLLBACK_PLAN)
