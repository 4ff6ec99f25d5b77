"""Evaluation items as lm-eval tasks: one task that generates, one that compares the likelihood of choices."""

# pyright: reportIncompatibleMethodOverride=false
# lm-eval's abstract methods have no return type, which a type checker takes for None.

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from lm_eval.api.instance import Instance, OutputType
from lm_eval.api.metrics import mean
from lm_eval.api.task import Task
from lm_eval.config.task import TaskConfig

from quantplay.evalset import EvalItem
from quantplay.harness.scorers import SCORERS
from quantplay.plan import Decoding

SCORE = "score"  # the one metric of our tasks


def generation_arguments(decoding: Decoding) -> dict[str, Any]:
    """lm-eval's `generation_kwargs` of greedy decoding up to the plan's stop strings and length."""
    return {
        "until": list(decoding.stop),
        "max_gen_toks": decoding.max_tokens,
        "do_sample": False,
        "temperature": 0.0,
    }


def item_tasks(items: Sequence[EvalItem], decoding: Decoding) -> dict[str, Task]:
    """Task name -> task, for the kinds of items there are; items keep their order."""
    generated = [item for item in items if item.scorer != "choice"]
    chosen = [item for item in items if item.scorer == "choice"]
    tasks: list[ItemTask] = []
    if generated:
        tasks.append(GenerationTask("items", generated, decoding))
    if chosen:
        tasks.append(ChoiceTask("choice-items", chosen, decoding))
    return {task.task_name: task for task in tasks}


class ItemTask(Task):
    """Items that lie in memory: nothing to download, no few-shot examples, the prompt is the item's prompt."""

    VERSION = 1
    KIND: OutputType  # of the requests

    def __init__(self, name: str, items: Sequence[EvalItem], decoding: Decoding) -> None:
        super().__init__()
        self._config = TaskConfig(task=name, output_type=self.KIND, num_fewshot=0, repeats=1)
        self.items = list(items)
        self.docs = [asdict(item) for item in items]
        self.decoding = decoding

    def download(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: the items are here."""

    def has_training_docs(self) -> bool:
        return False

    def has_validation_docs(self) -> bool:
        return False

    def has_test_docs(self) -> bool:
        return True

    def test_docs(self) -> Iterable[dict[str, Any]]:
        return self.docs

    def doc_to_text(self, doc: dict[str, Any]) -> str:
        return doc["prompt"]

    def doc_to_target(self, doc: dict[str, Any]) -> str:
        return doc["answer"]

    def fewshot_context(self, doc: dict[str, Any], *args: Any, **kwargs: Any) -> str:
        return doc["prompt"]

    def aggregation(self) -> dict[str, Any]:
        return {SCORE: mean}

    def higher_is_better(self) -> dict[str, bool]:
        return {SCORE: True}

    def item_of(self, doc: dict[str, Any]) -> EvalItem:
        return EvalItem(**{**doc, "choices": tuple(doc["choices"])})

    def answer(self, doc: dict[str, Any], results: Sequence[Any]) -> str:
        """The model's answer as text, from the results of the document's requests."""
        raise NotImplementedError

    def process_results(self, doc: dict[str, Any], results: Sequence[Any]) -> dict[str, float]:
        return {SCORE: SCORERS[doc["scorer"]](self.answer(doc, results), self.item_of(doc))}


class GenerationTask(ItemTask):
    """Greedy answers, compared by the item's scorer."""

    KIND = OUTPUT_TYPE = "generate_until"

    def construct_requests(self, doc: dict[str, Any], ctx: str, **kwargs: Any) -> Instance:
        arguments = (ctx, generation_arguments(self.decoding))
        return Instance("generate_until", doc, arguments, 0, metadata=kwargs["metadata"])

    def answer(self, doc: dict[str, Any], results: Sequence[Any]) -> str:
        return results[0]


class ChoiceTask(ItemTask):
    """The choice whose text is likeliest after the prompt (sum of its tokens' log-probabilities)."""

    KIND = OUTPUT_TYPE = "multiple_choice"

    def construct_requests(self, doc: dict[str, Any], ctx: str, **kwargs: Any) -> list[Instance]:
        item = self.item_of(doc)
        return [
            Instance("loglikelihood", doc, (ctx, item.following(choice)), index, metadata=kwargs["metadata"])
            for index, choice in enumerate(item.choices)
        ]

    def answer(self, doc: dict[str, Any], results: Sequence[Any]) -> str:
        return doc["choices"][int(np.argmax([log_probability for log_probability, _ in results]))]
