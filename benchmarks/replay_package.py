"""A package that can be replayed, made in seconds: the pilot's model really quantized, with made-up answers around it."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from benchmarks.playground import PILOT, first_lines
from quantplay.engines.converter import ensure_converter
from quantplay.envelope.hardware import measure_fingerprint
from quantplay.evalset import manifest_of_files, manifest_of_model
from quantplay.gate import decide
from quantplay.handoff.contents import Attempt, PackageContents
from quantplay.plays.pin import Paths, Pinned
from quantplay.plays.ptq import quantize
from quantplay.plays.reference import convert_reference, reference_recipe
from quantplay.quantizers.gguf import build_recipe
from quantplay.records import Artifact

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))


def made_contents(folder: Path, cache: Path, kind: str = "Q4_K_M") -> PackageContents:
    """Contents whose model, calibration texts, recipe and artifact are real; the files lie below `folder`."""
    from factories import made_package

    contents = made_package(folder / "files")
    calibration = folder / "calibration.jsonl"
    first_lines(PILOT / "calibration" / "traffic.jsonl", calibration, 16)
    inputs = contents.inputs.model_copy(
        update={
            "model": manifest_of_model(PILOT / "model", "model"),
            "calibration": manifest_of_files("calibration", {"calibration.jsonl": calibration}, "calibration.jsonl"),
        }
    )
    nothing = folder / "none"
    paths = Paths(
        model=PILOT / "model",
        calibration=calibration,
        gate=nothing,
        dev=nothing,
        heldout=nothing,
        traffic=None,
        tasks=(),
        allow_code=(),
    )
    pinned = Pinned(inputs=inputs, paths=paths)
    reference = folder / "reference.gguf"
    converted = convert_reference(reference_recipe(inputs, cache), pinned, out=reference, cache=cache)
    recipe = build_recipe(contents.plan, kind, inputs, threads=1, converter=ensure_converter(cache).digest)
    file = folder / f"pilot-{kind}.gguf"
    artifact = quantize(recipe, pinned, reference=reference, out=file)
    here = measure_fingerprint(1)
    baseline = contents.baseline.model_copy(
        update={
            "fingerprint": here,
            "model": inputs.model.content,
            "source": contents.baseline.source.model_copy(update={"model": inputs.model.content}),
            "reference": contents.baseline.reference.model_copy(update={"model": converted.sha256}),
        }
    )
    sources = {
        **contents.sources,
        "model": {entry.path: PILOT / "model" / entry.path for entry in inputs.model.files},
        "calibration": {"calibration.jsonl": calibration},
    }
    return with_artifact(
        replace(contents, inputs=inputs, baseline=baseline, recipe=recipe, sources=sources), artifact, file
    )


def with_artifact(contents: PackageContents, artifact: Artifact, file: Path) -> PackageContents:
    """The same with another artifact, and the decision that the gate takes then."""
    evaluation = contents.evaluation.model_copy(
        update={
            "artifact": artifact.sha256,
            "fingerprint": contents.baseline.fingerprint,
            "candidate": contents.evaluation.candidate.model_copy(update={"model": artifact.sha256}),
        }
    )
    plan = contents.plan
    titles = {name: info.title for name, info in plan.evaluation.slices.items()}
    decision = decide(
        plan.gate, contents.baseline, evaluation, envelope=plan.envelope, artifact=artifact, attempt=1, titles=titles
    )
    return replace(
        contents, artifact=artifact, artifact_file=file, evaluation=evaluation, decision=decision,
        attempts=(Attempt.of(artifact, evaluation, decision),),
    )  # fmt: skip
