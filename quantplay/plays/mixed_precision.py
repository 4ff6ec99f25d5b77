"""Play 5, mixed precision: the types of the next candidate, chosen under a budget of bytes, and its recipe.

Damages come from the scan (`quantplay.mixed.sensitivity`). The best mixes they promise are made with the quantizer that ships and
measured against full precision on the dev split; the model of combined damage is corrected by what was seen, and allocation is
solved again. What llama.cpp itself offers at the same size is measured beside them, so the choice is never worse than that.
"""

from __future__ import annotations

import time
from pathlib import Path

from quantplay import process
from quantplay.digest import digest_of, digest_of_file
from quantplay.engines.whole_file import written_whole
from quantplay.evalset import read_items
from quantplay.mixed.allocate import allocate, bytes_of
from quantplay.mixed.candidates import tensor_types_of
from quantplay.mixed.choosing import Choosing, chosen, require_room
from quantplay.mixed.damage import costs, predict
from quantplay.plan import Plan
from quantplay.plays.pin import Pinned
from quantplay.process import Report
from quantplay.quantizers.importance import load_importance
from quantplay.quantizers.importance_kept import kept_file, measured_with
from quantplay.quantizers.recipe import EACH_NAMED, HIGHER_PRECISION, build_recipe
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
    budget_bytes: int,
    reference: Path,
    workdir: Path,
    made_by: Recipe,
    kept: Path,
    on_progress: Report | None = None,
) -> MixChoice:
    """The best measured mix whose file has at most `budget_bytes`.

    sensitivity: the scan of `reference`, the full-precision GGUF. short: the artifact that fell short, and `made_by` its
    recipe, whose threads are used. kept: folder of importance matrices. workdir keeps a journal of what was measured: after a kill,
    measuring goes on from there. Raises InputError that names the
    smallest size where the budget is below it, or that no mix is needed where full precision fits.
    """
    text, context = dev_text(pinned.paths.dev, workdir), min(plan.envelope.context_tokens, LONGEST_CONTEXT)
    threads = made_by.threads
    importance = importance_file(plan, pinned, made_by, kept, on_progress) if sensitivity.importance else None
    return choose(
        sensitivity, reference=reference, importance=importance, text=text, context_tokens=context, short=short.sha256,
        short_type=short.type, budget_bytes=budget_bytes, workdir=workdir, threads=threads, on_progress=on_progress,
    )  # fmt: skip


def choose(
    sensitivity: Sensitivity,
    *,
    reference: Path,
    importance: Path | None,
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
    """The same from files alone: an importance matrix as `save_importance` writes it, and a text."""
    started = time.perf_counter()
    work = Choosing(sensitivity, reference, importance, text, context_tokens, workdir, threads, on_progress)
    work.require_possible(budget_bytes)
    work.measure_rivals(short_type, budget_bytes, rivals)
    for number in range(1, ROUNDS + 1):
        mixes = work.proposals(budget_bytes, first=number == 1)
        if not mixes:
            break
        work.measure_mixes(mixes, number)
    best = min(
        (one for one in work.measured if one.size_bytes <= budget_bytes), key=lambda one: (one.mean_kl_nats, one.name)
    )
    fit = work.fit()
    return MixChoice(
        sensitivity=sensitivity.digest(), reference=work.digest, threads=threads, short=short,
        importance=load_importance(importance).digest() if importance else None,
        short_type=short_type, budget_bytes=budget_bytes, other_bytes=work.beside, groups=work.groups,
        fit=fit.model_copy(update={"error": work.error()}), measured=tuple(work.measured),
        text=digest_of_file(text), text_tokens=work.text_tokens, **chosen(best, work.groups, best.mean_kl_nats),
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
        found, measured = chosen(best, choice.groups, best.mean_kl_nats), best.mean_kl_nats
    else:
        size = bytes_of(costs(choice.groups, choice.fit), mix) + choice.other_bytes
        new = MeasuredMix(name=f"mix of {size:,} bytes", origin="mix", groups=mix, size_bytes=size, predicted_nats=expected,
                          mean_kl_nats=expected, mean_kl_se=0.0, round=0)  # fmt: skip
        found, measured = chosen(new, choice.groups, expected), None
    return choice.model_copy(
        update={
            **found,
            "budget_bytes": budget_bytes,
            "mean_kl_nats": measured,
            "seconds": round(time.perf_counter() - started, 3),
        }
    )


def recipe_of(plan: Plan, choice: MixChoice, inputs: Inputs, *, threads: int, converter: Digest) -> Recipe:
    """Everything that determines the artifact: the chosen type of every tensor by name."""
    types = tensor_types_of(choice.groups, choice.types) if choice.types else {}
    recipe = build_recipe(
        plan, choice.type, inputs, threads=threads, converter=converter, importance=choice.importance is not None,
        tensor_types={"^" + name.replace(".", r"\.") + "$": kind for name, kind in sorted(types.items())},
    )  # fmt: skip
    return recipe.model_copy(update={"higher_precision": (*HIGHER_PRECISION, EACH_NAMED)}) if types else recipe


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
