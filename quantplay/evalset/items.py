"""Evaluation items: what is asked, what is expected and how the answer is compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from quantplay.errors import Fault
from quantplay.evalset.answers import json_value, last_number
from quantplay.evalset.jsonl import Line, RefusedError, printable, read_lines, refuse_faults, require_unique

SCORER_NAMES = ("exact", "json", "number", "contains", "choice")


@dataclass(frozen=True)
class EvalItem:
    """One evaluation example."""

    id: str
    slice: str
    document: str  # source; items of one document are not independent
    prompt: str  # given to the model as it is, no chat template
    answer: str
    scorer: str  # one of SCORER_NAMES
    choices: tuple[str, ...] = ()  # of a `choice` item; the answer is one of them

    def following(self, text: str) -> str:
        """`text` as it follows the prompt: after one space, unless one of the two brings white space of its own."""
        return text if self.prompt[-1:].isspace() or text[:1].isspace() else f" {text}"


def read_items(path: Path) -> tuple[EvalItem, ...]:
    """The items of one JSONL file, in order. Raises InputError with every fault of the file."""
    return read_item_files([path])


def read_item_files(paths: Sequence[Path]) -> tuple[EvalItem, ...]:
    """The items of several files, in order; ids are unique over all of them."""
    faults: list[Fault] = []
    seen: dict[str, str] = {}
    items: list[EvalItem] = []
    for path in paths:
        for line in read_lines(path, faults):
            item = item_of(line, seen)
            faults += line.faults
            if item is not None:
                items.append(item)
    refuse_faults(", ".join(str(path) for path in paths), faults)
    return tuple(items)


def item_of(line: Line, seen: dict[str, str]) -> EvalItem | None:
    """The item in `line`, or None with the reasons in its faults. `seen` gains the id."""
    line.keys(("id", "slice", "prompt", "answer", "scorer"), ("document", "choices"))
    name, part = line.name("id"), line.name("slice")
    require_unique(line, name, seen)
    if name is not None:
        seen.setdefault(name, line.where)
    document = line.name("document", default=name)
    prompt, answer = line.text("prompt"), line.text("answer")
    if prompt is not None and prompt.startswith(" "):
        # transformers and llama.cpp put a different number of spaces in front of it (SentencePiece)
        line.fault("the prompt starts with a space, which runtimes read differently", fix="remove the space")
    scorer = line.body.get("scorer")
    if "scorer" in line.body and scorer not in SCORER_NAMES:
        line.fault("unknown scorer", value=scorer, allowed=", ".join(SCORER_NAMES))
        scorer = None
    choices = choices_of(line, scorer)
    if answer is not None:
        check_answer(line, scorer, answer, choices)
    if line.faults or None in (name, part, document, prompt, answer, scorer):
        return None
    return EvalItem(str(name), str(part), str(document), str(prompt), str(answer), str(scorer), choices)


def choices_of(line: Line, scorer: object) -> tuple[str, ...]:
    if "choices" not in line.body:
        if scorer == "choice":
            line.fault("a `choice` item needs `choices`", fix='add "choices": ["...", "..."]')
        return ()
    choices = line.body["choices"]
    if scorer is not None and scorer != "choice":
        line.fault("`choices` belongs to the scorer `choice` alone", value=scorer, fix="remove it or change the scorer")
    if not isinstance(choices, list) or not all(isinstance(choice, str) and choice.strip() for choice in choices):
        line.fault("`choices` is no list of texts", value=choices, allowed="two or more JSON strings, none empty")
    elif len(choices) < 2 or len(set(choices)) < len(choices):
        line.fault(
            "`choices` has fewer than two, or the same one twice", value=choices, allowed="two or more, all different"
        )
    else:
        # Through `text`, so that a choice is held to the same rules as an answer.
        inner = Line(line.where, {f"choices[{i}]": choice for i, choice in enumerate(choices)})
        texts = [inner.text(key) for key in inner.body]
        line.faults += inner.faults
        return tuple(text for text in texts if text is not None)
    return ()


def check_answer(line: Line, scorer: object, answer: str, choices: tuple[str, ...]) -> None:
    """An expected answer that its own scorer could never accept is a fault of the file."""
    if scorer == "choice" and choices and answer not in choices:
        line.fault("the answer is none of the choices", value=answer, allowed=" | ".join(choices))
    if scorer == "number" and last_number(answer) is None:
        line.fault("the scorer is `number` and the answer holds none", value=answer, fix="write it in digits")
    if scorer == "json":
        try:
            json_value(answer)
        except RefusedError as error:
            what = f"the scorer is `json` and the answer is no JSON: {printable(str(error))}"
            line.fault(what, value=answer, fix="correct the answer, or use the scorer `exact`")
