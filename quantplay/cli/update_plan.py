"""The plan of a model update, written before anything runs: that of the locked run with another model, or one of your own."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

import yaml

from quantplay.engines.whole_file import written_whole
from quantplay.errors import InputError
from quantplay.plan import ModelSource, Plan
from quantplay.plan_file import load_plan, read_plan
from quantplay.plays.pin import locate, pin_data
from quantplay.plays.update import Earlier, require_update
from quantplay.records import Inputs
from quantplay.settings import settings
from quantplay.store.registry import Store, open_store
from quantplay.store.signoffs import OPENED, RESUMED
from tasks.updates import earlier_of


def updating_plan(run: str, plan: Path | None, model: Path | None, out: Path | None) -> Path:
    """Write the plan that updates `run` and give its path: `plan` with the run's id in it, or the run's own with `model`.

    What is there with the same content is used again. Raises InputError for a run that was not locked, for everything in which the plan
    differs from it, and where another file has the name.
    """
    if (plan is None) == (model is None):
        raise InputError(
            "an update names its plan or its model", allowed="quantplay run PLAN --update-of RUN, or quantplay run --update-of RUN --model PATH",
            fix="name one of the two",
        )  # fmt: skip
    with open_store(settings()) as store:
        earlier = earlier_of(store, run)
        before = plan_file_of(store, earlier) if plan is None else plan.absolute()
    base = before.parent
    wanted = read_plan(plan) if plan is not None else in_its_own_order(earlier.plan, before)
    if plan is not None and wanted.updates == earlier.run:
        return plan
    if wanted.updates not in (None, earlier.run) and plan is not None:
        raise InputError(f"{plan} updates another run", value=wanted.updates, allowed=earlier.run)
    name = plan.stem if plan is not None else wanted.name
    target = (out or base / f"{name}.update-{earlier.run[:8]}.yaml").absolute()
    changed = wanted.model_copy(update={"updates": earlier.run})
    if model is not None:
        changed = changed.model_copy(update={"model": ModelSource(source=model_source(model, base))})
    changed = moved(changed, base, target.parent)
    require_same_data(earlier, changed, target.parent)
    write(changed, target)
    return target


def plan_file_of(store: Store, earlier: Earlier) -> Path:
    """Where the plan of the run lay, and the files it names with it."""
    opened = [
        one.body
        for one in store.events(subject=earlier.run)
        if one.kind in (OPENED, RESUMED) and "plan_path" in one.body
    ]
    file = Path(opened[-1]["plan_path"]) if opened else None
    if file is None or not file.parent.is_dir():
        raise InputError(
            f"the folder that run {earlier.run[:8]} took its files from is not here",
            value=file.parent if file else "not recorded",
            fix="write the plan with these files' places here, and `quantplay run PLAN --update-of RUN`",
        )  # fmt: skip
    return file


def in_its_own_order(recorded: Plan, file: Path) -> Plan:
    """The plan as its file lists it, slices in the team's order, where the file still says the same; else as it was recorded."""
    there = load_plan(file).plan if file.is_file() else None
    return there if there is not None and there.digest() == recorded.digest() else recorded


def model_source(model: Path, base: Path) -> str:
    """The folder as a plan in `base` names it."""
    folder = model.expanduser().absolute()
    if not folder.is_dir():
        raise InputError(
            "there is no such model folder", value=model, allowed="a folder with config.json, a tokenizer and *.safetensors",
            fix="a model of a hub goes into a plan, with its commit: quantplay run PLAN --update-of RUN",
        )  # fmt: skip
    return str(folder.relative_to(base)) if folder.is_relative_to(base) else str(folder)


def moved(plan: Plan, old: Path, new: Path) -> Plan:
    """`plan` with its relative names as seen from the folder `new` instead of `old`."""
    if old.resolve() == new.resolve():
        return plan

    def seen(name: str) -> str:
        return name if PurePosixPath(name).is_absolute() else os.path.relpath(old / name, new)

    body = plan.body()
    for part, names in {"calibration": ("file", "traffic"), "evaluation": ("gate", "dev", "heldout")}.items():
        body[part] |= {name: seen(body[part][name]) for name in names if body[part].get(name)}
    if plan.training is not None:
        body["training"]["file"] = seen(plan.training.file)
    body["evaluation"]["tasks"] = [seen(name) for name in body["evaluation"]["tasks"]]
    if plan.model.commit is None:
        body["model"]["source"] = seen(body["model"]["source"])
    return Plan.model_validate(body)


def require_same_data(earlier: Earlier, plan: Plan, base: Path) -> None:
    """All that can be said before the model is read: the run compares again, weights included."""
    data = {manifest.kind: manifest for manifest in pin_data(plan, locate(plan, base))}
    unread = earlier.inputs.model.model_copy(update={"content": "0" * 64})
    require_update(earlier, plan, Inputs(**{"model": unread, **data}))


def write(plan: Plan, target: Path) -> None:
    text = (
        f"# Updates run {plan.updates}: another model, everything that decides as it was. Written by `quantplay run --update-of`.\n"
        + yaml.safe_dump(plan.model_dump(mode="json", by_alias=True), sort_keys=False, allow_unicode=True, width=120)
    )
    if target.exists():
        there = load_plan(target).plan
        if there is None or there.digest() != plan.digest():
            raise InputError(
                "another file has the name of the update's plan", value=target, fix="name another one with --out"
            )
        return
    with written_whole(target) as partial:
        partial.write_text(text, encoding="utf-8")
