"""The machine and the versions an artifact was made with, against those that are here."""

from __future__ import annotations

from dataclasses import dataclass

from quantplay.envelope.hardware import measure_fingerprint
from quantplay.quantizers.folder_recipe import versions_here
from quantplay.quantizers.recipe import library_versions
from quantplay.records import Digest, Fingerprint, Recipe
from quantplay.settings import usable_cpus


@dataclass(frozen=True, kw_only=True)
class StackDifference:
    """One thing that is not as it was when the artifact was made."""

    name: str
    recorded: str
    here: str


def stack_differences(recipe: Recipe, measured_on: Fingerprint, converter: Digest) -> tuple[StackDifference, ...]:
    """All that can explain other bytes.

    measured_on: the machine of the evaluation, the one a package names. converter: digest of the converter's sources here.
    """
    here = measure_fingerprint(recipe.threads)
    versions = library_versions() if recipe.format == "gguf" else versions_here(recipe.versions)
    found = {
        name: (recipe.versions.get(name, "none"), versions.get(name, "none")) for name in recipe.versions | versions
    }
    found["converter's sources"] = (recipe.converter, converter)
    found["processor"] = (measured_on.hardware.cpu, here.hardware.cpu)
    found["instruction sets of the processor"] = (measured_on.hardware.cpu_features, here.hardware.cpu_features)
    found["build of llama.cpp"] = (measured_on.software.runtime, here.software.runtime)
    found["system and C library"] = (measured_on.software.system, here.software.system)
    if usable_cpus() < recipe.threads:
        found["processors for the threads"] = (str(recipe.threads), str(usable_cpus()))
    return tuple(
        StackDifference(name=name, recorded=recorded, here=now)
        for name, (recorded, now) in found.items()
        if recorded != now
    )
