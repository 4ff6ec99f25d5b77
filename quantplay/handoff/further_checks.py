"""What must agree in a package whose artifact plays 5 or 6 made."""

from __future__ import annotations

from collections.abc import Iterator

from quantplay.errors import Fault
from quantplay.handoff import layout
from quantplay.handoff.comparing import same
from quantplay.handoff.opened import OpenPackage
from quantplay.records import Training


def went_further(package: OpenPackage) -> bool:
    """Whether plays 5 or 6 had a part in it, by any of its records."""
    recipe = package.recipe
    return any((package.sensitivity, package.mix, package.training, recipe.trained, recipe.tensor_types))


def further_agrees(package: OpenPackage) -> Iterator[Fault]:
    """The artifact is the one that plays 5 and 6 ended in: trained weights and the types of single tensors are theirs."""
    recipe, mix, training = package.recipe, package.mix, package.training
    trained = training.weights if training else None
    yield from same(layout.TRAINING, "ended in other weights than the recipe names", trained, recipe.trained)
    if training is not None:
        yield from training_agrees(package, training)
    if mix is not None:
        if package.sensitivity is None:
            yield Fault(where=layout.SENSITIVITY, what="missing, and a mix was chosen by it")
        else:
            scan = package.sensitivity.digest()
            yield from same(layout.MIX, "was chosen by another scan", mix.sensitivity, scan)
            full = package.baseline.reference.model
            yield from same(layout.SENSITIVITY, "is of another full-precision file", package.sensitivity.model, full)
            yield from same(layout.MIX, "was measured against another full-precision file", mix.reference, full)
        if training is None:
            chosen = [group.tensors[mix.types[group.group]] for group in mix.groups] if mix.types else []
            wanted = {"^" + name.replace(".", r"\.") + "$": kind for types in chosen for name, kind in types.items()}
            yield from same(layout.MIX, "chose other types than the recipe names", recipe.tensor_types == wanted, True)
    elif training is None and recipe.tensor_types:
        yield Fault(where=layout.MIX, what="missing, and the recipe names the types of single tensors")


def training_agrees(package: OpenPackage, training: Training) -> Iterator[Fault]:
    """It was given the pinned model, texts and dev split, and started from a candidate of this run whose types it kept."""
    inputs = package.inputs
    data = inputs.training.content if inputs.training is not None else None
    dev = next((file.sha256 for file in inputs.evaluation.files if file.path == "dev.jsonl"), None)
    yield from same(layout.TRAINING, "trained another model", training.model, inputs.model.content)
    yield from same(layout.TRAINING, "trained on other texts", training.data, data)
    yield from same(layout.TRAINING, "chose its step on another dev split", training.dev, dev)
    yield from same(layout.TRAINING, "simulated other types", training.kinds, package.artifact.tensors)
    if training.artifact not in {one.artifact for one in package.attempts}:
        yield Fault(
            where=layout.TRAINING,
            what="started from a candidate that is not among the attempts",
            value=training.artifact,
        )
