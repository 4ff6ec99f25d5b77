"""Format mismatched to target: not what the serving runtime loads, or not written directly."""

from __future__ import annotations

import re
from collections.abc import Iterator

from quantplay.audit.facts import Facts, Release
from quantplay.audit.mistakes.signs import Classic, Sign
from quantplay.audit.names import named_in, words
from quantplay.envelope.fitting import MANY, PACKED_FOR_GPU, RULE
from quantplay.envelope.runtimes import RUNTIMES
from quantplay.formats import FORMATS, TYPES

PACKED = (
    "gptq",
    "awq",
    "gguf",
    "ggml",
    "exl2",
    "bnb",
    "int4",
    "int8",
    "4bit",
    "8bit",
    "fp8",
    "nf4",
    "w4a16",
    "w8a8",
    "quantized",
)
"""In the name of a model that is quantized already."""
LLAMA_BUILD = re.compile(r"^b\d{3,}(-|$)")
"""As llama.cpp's server tells its own: a number and a commit."""


def fits_runtime(facts: Facts) -> bool | None:
    """Whether the runtime that serves loads the artifact's format, on the plan's device."""
    if facts.artifact is None or facts.runtime is None:
        return None
    made = FORMATS.get(facts.artifact.format)
    device = facts.plan.envelope.device if facts.plan is not None else None
    runs = facts.runtime in RUNTIMES and (device is None or device in RUNTIMES[facts.runtime].devices)
    return made is not None and facts.runtime in made.runtimes and runs


def served_by(release: Release) -> tuple[str, ...] | None:
    """Runtimes that the build which a release asks for may be; None where it asks for none, or its name tells none."""
    build = release.policy.quantized.build or ""
    if LLAMA_BUILD.match(build):
        return FORMATS["gguf"].runtimes
    return tuple(one for one in RUNTIMES if named_in([build], [words(one.removesuffix("-server"))])) or None


def wrong_format(facts: Facts) -> Iterator[Sign]:
    artifact, recipe, runtime = facts.artifact, facts.recipe, facts.runtime
    if artifact is None:
        return
    waived, fix = facts.waiver(RULE), "quantplay plan PLAN names the format; then quantplay run PLAN writes it directly"

    def sign(why: str, record: str = "artifact", *, waivable: bool = False) -> Sign:
        shown = facts.shows(record, f"{artifact.format}, {artifact.type}, {artifact.file_name}")
        return Sign(why=why, evidence=(shown,), fix=fix, waived=waived if waivable else None)

    made = FORMATS.get(artifact.format)
    if runtime is not None and fits_runtime(facts) is False:
        served = ", ".join(made.runtimes) if made is not None else "no runtime known here"
        yield sign(
            f"{artifact.format} is loaded by {served}; {runtime}{' on a ' + facts.plan.envelope.device if facts.plan else ''} serves.",
            waivable=True,
        )
    kind = TYPES.get(artifact.type)
    if kind is not None and kind.format != artifact.format:
        yield sign(f"{artifact.type} is a type of {kind.format}, and the file is {artifact.format}.")
    if made is not None and made.suffix and not artifact.file_name.endswith(made.suffix):
        yield sign(f"A {artifact.format} file ends in {made.suffix}; this one is {artifact.file_name}.")
    elif made is not None and not made.suffix and artifact.file_name.endswith(".gguf"):
        yield sign(f"The file {artifact.file_name} is GGUF by its name, and {artifact.format} by its record.")
    if recipe is not None and (recipe.format, recipe.type) != (artifact.format, artifact.type):
        yield sign(
            f"Made as {recipe.format} {recipe.type} and shipped as {artifact.format} {artifact.type}: converted once more.",
            "recipe",
        )
    chosen = facts.envelope
    if chosen is not None and chosen.chosen.format != artifact.format:
        yield sign(f"Play 2 chose {chosen.chosen.format}, and {artifact.format} was made.", "envelope")
    if chosen is not None and facts.plan is not None and chosen.runtime != facts.plan.envelope.runtime:
        yield sign(f"Play 2 chose for {chosen.runtime}, and {facts.plan.envelope.runtime} serves.", "envelope")
    yield from converted_twice(facts)
    for release in facts.releases:
        serves = served_by(release)
        if serves is not None and made is not None and not set(serves) & set(made.runtimes):
            build = release.policy.quantized.build
            yield sign(
                f"{release.endpoint} has to be served by {build}, which does not load {artifact.format}.", "release"
            )
    if facts.plan is not None and runtime is not None and fits_runtime(facts):
        envelope = facts.plan.envelope
        if envelope.device == "cpu" and artifact.type in PACKED_FOR_GPU and envelope.bottleneck != "storage":
            yield sign(
                f"{artifact.type} is packed for GPU kernels, and a CPU serves: GGUF is made for CPUs.", waivable=True
            )
        if artifact.format != "gguf":
            return
        if envelope.device == "gpu" and (envelope.batch >= MANY or envelope.bottleneck == "throughput"):
            yield sign(
                f"GGUF in {runtime} is made for few requests at a time, and this GPU serves {envelope.batch} together.",
                waivable=True,
            )


def converted_twice(facts: Facts) -> Iterator[Sign]:
    """Quantized from what was quantized already, or taken through another format on the way."""
    recipe, model, fix = (
        facts.recipe,
        facts.manifests.get("model"),
        "quantize the full-precision model directly into the serving format",
    )
    names = [model.source, *(file.path for file in model.files)] if model is not None else []
    if facts.plan is not None:
        names.append(facts.plan.model.source)
    packed = named_in(names, PACKED) or next((name for name in names if name.endswith(".gguf")), None)
    if packed is not None:
        yield Sign(
            why=f"The source is quantized already ({packed}): the file went through two conversions.", fix=fix,
            evidence=(facts.pinned("model", f"from {names[0]}"),),
        )  # fmt: skip
    if recipe is None or facts.imported:
        return
    makers = {
        "gguf": ("llama.cpp",),
        "compressed-tensors": ("llm-compressor",),
        "gptq": ("gptqmodel",),
        "bitsandbytes": ("bitsandbytes",),
    }
    wanted = makers.get(recipe.format)
    if wanted is not None and not recipe.method.startswith(wanted):
        yield Sign(
            why=f"{recipe.format} was made by {recipe.method}, which does not write it directly.", fix=fix,
            evidence=(facts.shows("recipe", f"method {recipe.method}"),),
        )  # fmt: skip
    elif any(word in recipe.method.casefold() for word in ("->", "then", "requant", "dequant", "+", "via")):
        yield Sign(
            why=f"Converted twice by its method: {recipe.method}.", fix=fix,
            evidence=(facts.shows("recipe", f"method {recipe.method}"),),
        )  # fmt: skip
    if model is not None and recipe.model != model.content:
        yield Sign(
            why=f"Made from the weights {recipe.model[:12]}, and {model.content[:12]} is the pinned full-precision model.", fix=fix,
            evidence=(facts.shows("recipe", f"model {recipe.model[:12]}"),),
        )  # fmt: skip


FORMAT_MISMATCH = Classic(
    name="format_mismatch", question="Is it in the serving runtime's own format, written directly?", owner="ml_engineer",
    signs=wrong_format, needs=lambda facts: ("plan", "recipe", "artifact", "envelope", "manifests"),
)  # fmt: skip
