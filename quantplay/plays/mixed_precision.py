"""Play 5, mixed precision: the types of the next candidate, chosen under a budget of bytes, and its recipe.

Damages come from the scan (`quantplay.mixed.sensitivity`). The best mixes they promise are made with the quantizer that ships and
measured against full precision on the dev split; the model of combined damage is corrected by what was seen, and allocation is
solved again. What llama.cpp itself offers at the same size is measured beside them, so the choice is never worse than that.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from quantplay import process
from quantplay.digest import digest_of, digest_of_file
from quantplay.engines.whole_file import written_whole
from quantplay.evalset import read_items
from quantplay.formats import TYPES
from quantplay.mixed.allocate import allocate, bytes_of
from quantplay.mixed.choosing import Choosing, require_room, said_of
from quantplay.mixed.damage import costs, predict
from quantplay.mixed.folder_mixes import FolderMixes
from quantplay.mixed.gguf_mixes import GgufMixes
from quantplay.mixed.mixes import Mixes, tensor_types_of
from quantplay.plan import Plan
from quantplay.plays.pin import Pinned
from quantplay.process import Report
from quantplay.quantizers import method
from quantplay.quantizers.importance_kept import kept_file, measured_with
from quantplay.quantizers.layer_types import exactly
from quantplay.quantizers.recipe import EACH_NAMED, HIGHER_PRECISION
from quantplay.records import (
    Artifact,
    Digest,
    Inputs,
    MeasuredMix,
    MixChoice,
    Recipe,
    Sensitivity,
)

ROUNDS = 2
RIVALS = 3  # of llama.cpp's own mixes, and of uniform types
TEXT_CHARACTERS = 120_000
LONGEST_CONTEXT = 512


def choose_mix(
    plan: Plan,
    pinned: Pinned,
    *,
    sensitivity: Sensitivity,
    short: Artifact,
    short_file: Callable[[], Path],
    budget_bytes: int,
    reference: Path,
    workdir: Path,
    made_by: Recipe,
    kept: Path,
    on_progress: Report | None = None,
) -> MixChoice:
    """The best measured mix whose file has at most `budget_bytes`.

    sensitivity: the scan of `reference`, the full-precision file. short: the artifact that fell short, `short_file` brings its file
    here where it is measured as it is, and `made_by` is its recipe, whose threads are used. kept: folder of importance matrices. workdir keeps a journal of what was measured: after a kill,
    measuring goes on from there. Raises InputError that names the
    smallest size where the budget is below it, or that no mix is needed where full precision fits.
    """
    text, context = dev_text(pinned.paths.dev, workdir), min(plan.envelope.context_tokens, LONGEST_CONTEXT)
    threads = made_by.threads
    mixes: Mixes
    if short.format == "gguf":
        importance = importance_file(plan, pinned, made_by, kept, on_progress) if sensitivity.importance else None
        mixes = GgufMixes(sensitivity, reference, importance)
    else:
        mixes = FolderMixes(
            sensitivity, reference, model=pinned.paths.model, calibration=pinned.paths.calibration, short=short,
            short_file=short_file(), made_by=made_by,
        )  # fmt: skip
    return choose(
        mixes, text=text, context_tokens=context, short=short.sha256, short_type=short.type, budget_bytes=budget_bytes,
        workdir=workdir, threads=threads, on_progress=on_progress,
    )  # fmt: skip


def choose(
    mixes: Mixes,
    *,
    text: Path,
    context_tokens: int,
    short: Digest,
    short_type: str,
    budget_bytes: int,
    workdir: Path,
    threads: int,
    rivals: int = RIVALS,
    on_progress: Report | None = None,
) -> MixChoice:
    """The same from a format's mixes and a text alone."""
    started = time.perf_counter()
    work = Choosing(mixes, text, context_tokens, workdir, threads, on_progress)
    work.require_possible(budget_bytes)
    work.measure_rivals(short_type, budget_bytes, rivals)
    for number in range(1, ROUNDS + 1):
        proposed = work.proposals(budget_bytes, first=number == 1)
        if not proposed:
            break
        work.measure_mixes(proposed, number)
    best = min(
        (one for one in work.measured if one.size_bytes <= budget_bytes), key=lambda one: (one.mean_kl_nats, one.name)
    )
    fit = work.fit()
    return MixChoice(
        sensitivity=mixes.sensitivity.digest(), reference=mixes.digest, threads=threads, short=short,
        importance=mixes.importance,
        short_type=short_type, budget_bytes=budget_bytes, other_bytes=work.beside, groups=work.groups,
        fit=fit.model_copy(update={"error": work.error()}), measured=tuple(work.measured),
        text=digest_of_file(text), text_tokens=work.text_tokens, **work.chosen(best),
        mean_kl_nats=best.mean_kl_nats, seconds=round(time.perf_counter() - started, 3),
        peak_resident_bytes=work.peak,
    )  # fmt: skip


def solve_again(choice: MixChoice, budget_bytes: int) -> MixChoice:
    """The same for another budget, from what is known: nothing is measured. `mean_kl_nats` is None where a new mix is best.

    Raises InputError where the budget is below the smallest mix.
    """
    started = time.perf_counter()
    require_room(choice.groups, choice.other_bytes, budget_bytes)
    mix = allocate(costs(choice.groups, choice.fit), budget_bytes - choice.other_bytes)
    expected = predict(choice.groups, choice.fit, mix)
    known = [one for one in choice.measured if one.size_bytes <= budget_bytes and one.mean_kl_nats <= expected]
    if known:
        best = min(known, key=lambda one: (one.mean_kl_nats, one.name))
        measured = best.mean_kl_nats
    else:
        size = bytes_of(costs(choice.groups, choice.fit), mix) + choice.other_bytes
        best = MeasuredMix(name=f"mix of {size:,} bytes", origin="mix", groups=mix, size_bytes=size, predicted_nats=expected,
                           mean_kl_nats=expected, mean_kl_se=0.0, round=0)  # fmt: skip
        measured = None
    formats = GgufMixes if TYPES[choice.type].format == "gguf" else FolderMixes
    return choice.model_copy(
        update={
            **said_of(best, *formats.types_of(choice.groups, best)),
            "budget_bytes": budget_bytes,
            "mean_kl_nats": measured,
            "seconds": round(time.perf_counter() - started, 3),
        }
    )


def recipe_of(plan: Plan, choice: MixChoice, inputs: Inputs, *, threads: int, converter: Digest) -> Recipe:
    """Everything that determines the artifact: the chosen type of every tensor by name."""
    types = tensor_types_of(choice.groups, choice.types) if choice.types else {}
    serving_format = TYPES[choice.type].format
    recipe = method(serving_format).build_recipe(
        plan, choice.type, inputs, threads=threads, converter=converter, importance=choice.importance is not None,
        tensor_types={exactly(name): kind for name, kind in sorted(types.items())},
    )  # fmt: skip
    if not types or serving_format != "gguf":
        return recipe
    return recipe.model_copy(update={"higher_precision": (*HIGHER_PRECISION, EACH_NAMED)})


def dev_text(dev: Path, workdir: Path) -> Path:
    """Prompts and answers of the dev split, spread evenly over the file, as one text in `workdir`."""
    items = read_items(dev)
    whole = [f"{item.prompt}{item.following(item.answer)}" for item in items]
    step = max(1, -(-sum(map(len, whole)) // TEXT_CHARACTERS))
    text = "\n".join(whole[::step])
    file = workdir / f"dev-{digest_of(text)[:16]}.txt"
    if not file.exists():
        with written_whole(file) as partial:
            partial.write_text(text, encoding="utf-8")
    return file


def importance_file(plan: Plan, pinned: Pinned, made_by: Recipe, kept: Path, on_progress: Report | None) -> Path:
    """The importance matrix that ships, measured once."""
    asked = {"samples": plan.calibration.samples, "tokens": plan.calibration.tokens, "threads": made_by.threads}
    file = kept_file(kept, measured_with(made_by), **asked)
    if not file.exists():
        process.run(
            "quantplay.quantizers.importance:importance_job",
            {"model": str(pinned.paths.model), "calibration": str(pinned.paths.calibration), "out": str(file), **asked},
            threads=made_by.threads, on_progress=on_progress,
        )  # fmt: skip
    return file
