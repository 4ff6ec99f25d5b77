"""The data a plan names: readable, complete, disjoint, long enough; every fault of every file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from quantplay import evalset
from quantplay.errors import Fault, InputError
from quantplay.evalset import EvalItem, TaskFile, TextSample
from quantplay.plan import Calibration, Decoding, EvaluationSet, Training
from quantplay.plan_file import Place, PlanFile, close_to

T = TypeVar("T")
WHOLE_ANSWER = ("exact", "json")  # scorers that compare all of a generated answer


@dataclass
class Sets:
    """What could be read; None where a file has faults of its own."""

    gate: tuple[EvalItem, ...] | None = None
    dev: tuple[EvalItem, ...] | None = None
    heldout: tuple[TextSample, ...] | None = None
    calibration: tuple[TextSample, ...] | None = None
    traffic: tuple[TextSample, ...] | None = None
    training: tuple[TextSample, ...] | None = None
    tasks: list[TaskFile] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)


def read_sets(
    file: PlanFile,
    evaluation: EvaluationSet | None,
    calibration: Calibration | None,
    base: Path,
    training: Training | None = None,
) -> Sets:
    sets = Sets()

    def read(place: Place, name: str, reader: Callable[[Path], T]) -> T | None:
        path = base / name
        label = ".".join(str(part) for part in place)
        try:
            if path.exists() and not path.is_file():
                what = f"{label}: is a folder" if path.is_dir() else f"{label}: is a pipe or a device"
                sets.faults.append(file.fault(place, what, value=str(path), allowed="a file relative to the plan"))
                return None
            if not path.is_file():
                near = nearby(path)
                sets.faults.append(
                    file.fault(
                        place, f"{label}: there is no such file", value=str(path), allowed="a file relative to the plan",
                        fix=f"did you mean `{Path(name).parent / near}`?" if near else None,
                    )
                )  # fmt: skip
                return None
            return reader(path)
        except InputError as error:
            sets.faults += error.faults or (Fault(where=str(path), what=error.what, fix=error.fix),)
        except OSError as error:
            what = f"{label}: can't be read: {error.strerror}"
            sets.faults.append(file.fault(place, what, value=str(path), allowed="a file relative to the plan"))
        return None

    if evaluation is not None:
        sets.gate = read(("evaluation", "gate"), evaluation.gate, evalset.read_items)
        sets.dev = read(("evaluation", "dev"), evaluation.dev, evalset.read_items)
        sets.heldout = read(("evaluation", "heldout"), evaluation.heldout, evalset.read_texts)
        for position, name in enumerate(evaluation.tasks):
            task = read(
                ("evaluation", "tasks", position),
                name,
                lambda path: evalset.read_task_file(path, evaluation.allow_code),
            )
            sets.tasks += [task] if task is not None else []
        sets.faults += allow_code_faults(file, evaluation)
    if calibration is not None:
        sets.calibration = read(("calibration", "file"), calibration.file, evalset.read_texts)
        if calibration.traffic is not None:
            sets.traffic = read(("calibration", "traffic"), calibration.traffic, evalset.read_texts)
    if training is not None:
        sets.training = read(("training", "file"), training.file, evalset.read_texts)
    return sets


def nearby(path: Path) -> str | None:
    """A file of nearly this name in the same folder."""
    return close_to(path.name, (entry.name for entry in path.parent.iterdir())) if path.parent.is_dir() else None


def allow_code_faults(file: PlanFile, evaluation: EvaluationSet) -> Iterator[Fault]:
    names = [Path(task).name for task in evaluation.tasks]
    for position, name in enumerate(evaluation.allow_code):
        if name not in names:
            yield file.fault(
                ("evaluation", "allow_code", position),
                f"evaluation.allow_code[{position + 1}]: no task file has this name",
                value=name,
                allowed=", ".join(names) or "nothing, because `evaluation.tasks` is empty",
                fix="write the file name without folders, or remove it",
            )


def slice_faults(file: PlanFile, evaluation: EvaluationSet, sets: Sets) -> Iterator[Fault]:
    """Slices of the gate split and slices of the plan are the same; the dev split has no others."""
    for split, items in (("gate", sets.gate), ("dev", sets.dev)):
        if items is None:
            continue
        counts = Counter(item.slice for item in items)
        for name, count in counts.items():
            if name not in evaluation.slices:
                near = close_to(name, evaluation.slices)
                yield file.fault(
                    ("evaluation", "slices"),
                    f"evaluation.slices: the {split} file holds a slice the plan does not describe",
                    value=f"{name} ({count} items)",
                    allowed=", ".join(evaluation.slices),
                    fix=f"did you mean `{near}`?"
                    if near
                    else f"add `{name}: {{title: ...}}`, and a tolerance to the gate",
                )
        for name in evaluation.slices:
            # Documents of a task file bring their own slices, which are known only when lm-eval reads them.
            if split == "gate" and name not in counts and not evaluation.tasks:
                yield file.fault(
                    ("evaluation", "slices", name),
                    f"evaluation.slices.{name}: no item of the gate file is of this slice",
                    value=name,
                    allowed=", ".join(counts),
                    fix="add items, or remove the slice here and from the gate",
                )


def overlap_faults(file: PlanFile, sets: Sets) -> Iterator[Fault]:
    """What decides is not what was looked at."""
    if sets.gate is not None and sets.dev is not None:
        for kind, of in (("id", "ids"), ("document", "documents"), ("prompt", "prompts")):
            dev = {getattr(item, kind) for item in sets.dev}
            shared = list(dict.fromkeys(getattr(item, kind) for item in sets.gate if getattr(item, kind) in dev))
            if shared:
                yield file.fault(
                    ("evaluation", "dev"),
                    f"evaluation.dev: {len(shared)} {of} stand in the gate split too, so the gate would be looked at early",
                    value=few(shared),
                    fix="keep the splits apart by source document",
                )


def few(names: Sequence[str], shown: int = 3) -> str:
    rest = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {rest} more" if rest > 0 else "")


def calibration_faults(file: PlanFile, calibration: Calibration, sets: Sets) -> Iterator[Fault]:
    if sets.calibration is not None and len(sets.calibration) < calibration.samples:
        yield file.fault(
            ("calibration", "samples"),
            "calibration.samples: the file holds fewer",
            value=f"{calibration.samples} asked for, {len(sets.calibration)} there",
            allowed=f"at most {len(sets.calibration)}",
            fix="add samples, or ask for fewer",
        )


def answer_faults(file: PlanFile, decoding: Decoding, sets: Sets) -> Iterator[Fault]:
    """A stop text inside an expected answer cuts every right answer short."""
    for stop in decoding.stop:
        cut = [
            item.id
            for item in (*(sets.gate or ()), *(sets.dev or ()))
            if stop and item.scorer in WHOLE_ANSWER and stop in item.answer.strip()
        ]
        if cut:
            yield file.fault(
                ("decoding", "stop"), f"decoding.stop: {len(cut)} expected answers hold the stop text",
                value=f"{stop!r} in {few(cut)}", fix="choose a stop text that no answer holds",
            )  # fmt: skip
    if "" in decoding.stop:
        yield file.fault(("decoding", "stop"), "decoding.stop: an empty text stops every answer", fix="remove it")


def split_warnings(file: PlanFile, evaluation: EvaluationSet, sets: Sets) -> Iterator[Fault]:
    if sets.dev is None:
        return
    there = {item.slice for item in sets.dev}
    absent = [name for name in evaluation.slices if name not in there]
    if absent and not evaluation.tasks:
        yield file.fault(
            ("evaluation", "dev"), "evaluation.dev: has no items of some slices", value=", ".join(absent),
            fix="add some; the dev split chooses between candidates",
        )  # fmt: skip
