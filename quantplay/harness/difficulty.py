"""How hard each item is for the full-precision model, from sampled answers.

The graded greedy answer is not reused: a slice of the baseline's own failures could only get better, and would hide a
drop. Sampled answers are other draws from the same model, so an item counts as hard when the model is unsure of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import exp
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantplay.engines.llama_cpp import LlamaModel
from quantplay.errors import InputError
from quantplay.evalset import EvalItem, read_item_files
from quantplay.harness.scorers import SCORERS
from quantplay.plan import Decoding

if TYPE_CHECKING:
    from lm_eval.api.model import TemplateLM

SAMPLES = 4
TEMPERATURE = 0.8
Report = Callable[[int, int, str], None]


@dataclass(frozen=True, kw_only=True)
class Hardness:
    """How an item fared."""

    id: str
    pass_rate: float  # share of sampled answers that were right; of a choice, the probability of the right one


def rank(
    items: Sequence[EvalItem],
    *,
    model: Path,
    decoding: Decoding,
    batch: int,
    threads: int,
    context_tokens: int = 512,
    samples: int = SAMPLES,
    temperature: float = TEMPERATURE,
    seed: int = 0,
    runtime: str = "llama.cpp",
    on_progress: Report | None = None,
) -> tuple[Hardness, ...]:
    """All items, hardest first: by pass rate, then the longer answer, then the id.

    `model` is a GGUF file, or for the runtime transformers a folder or a file that holds one. Half of the samples are drawn for every item, the other half only for items that failed one
    of them: an item that passed all has the rate 1 either way, and only the hard end of the list is used. In
    llama.cpp a sample depends on the seed, the prompt and its own number only, so the ranking does not depend on batch or order.
    """
    from quantplay.harness.limits import require_fit
    from quantplay.harness.quality import quiet

    if samples < 2:
        raise InputError("difficulty needs several sampled answers", value=samples, allowed="2 or more")
    with (
        quiet(),
        sampler(
            runtime, model, batch=max(batch, samples), threads=threads, context_tokens=context_tokens, decoding=decoding
        ) as (lm, drawn),
    ):
        generated = [item for item in items if item.scorer != "choice"]
        prompts = {item.id: lm.tok_encode(item.prompt) for item in generated}
        needs = ((name, len(tokens), decoding.max_tokens) for name, tokens in prompts.items())
        require_fit(needs, lm.max_length)  # type: ignore[attr-defined]
        rates = choice_rates(lm, [item for item in items if item.scorer == "choice"], temperature)
        count = Count(len(items), len(rates), on_progress)

        def draw(of: Sequence[EvalItem], number: int, seed: int) -> dict[str, list[bool]]:
            answers = drawn([item.prompt for item in of], number, temperature, seed, count)
            return {
                item.id: [SCORERS[item.scorer](answer, item) == 1 for answer in group]
                for item, group in zip(of, answers, strict=True)
            }

        first = draw(generated, samples // 2, seed)
        unsure = [item for item in generated if not all(first[item.id])]
        count.total += len(unsure)
        # Samples are numbered from 0 in every draw, so the second draw needs a seed of its own.
        second = draw(unsure, samples - samples // 2, seed + 1)
    for name, right in first.items():
        rates[name] = 1.0 if all(right) else sum(right + second[name]) / samples
    ordered = sorted(items, key=lambda item: (rates[item.id], -len(item.answer), item.id))
    return tuple(Hardness(id=item.id, pass_rate=rates[item.id]) for item in ordered)


Draw = Callable[[Sequence[str], int, float, int, Callable[[int], None]], list[list[str]]]
"""(prompts, samples, temperature, seed, on each prompt done) -> the samples' texts of every prompt."""


@contextmanager
def sampler(
    runtime: str, model: Path, *, batch: int, threads: int, context_tokens: int, decoding: Decoding
) -> Iterator[tuple[TemplateLM, Draw]]:
    """The model as lm-eval sees it, and what draws answers from it."""
    limits: dict[str, Any] = {"max_tokens": decoding.max_tokens, "stop": decoding.stop}
    if runtime == "transformers":
        from quantplay.harness.quality import open_model

        with open_model("transformers", model, batch, threads, context_tokens) as folder:
            lm: Any = folder

            def from_folder(
                prompts: Sequence[str], samples: int, temperature: float, seed: int, done: Callable[[int], None]
            ) -> list[list[str]]:
                found = lm.sample(prompts, samples=samples, temperature=temperature, seed=seed, **limits)
                for number in range(len(found)):
                    done(number)
                return found

            yield folder, from_folder
        return
    from quantplay.harness.lm_llama import LlamaLM

    with LlamaModel(model, threads=threads, context_tokens=context_tokens, sequences=batch) as loaded:
        llama = LlamaLM(loaded)

        def from_file(
            prompts: Sequence[str], samples: int, temperature: float, seed: int, done: Callable[[int], None]
        ) -> list[list[str]]:
            tokens = [llama.tok_encode(prompt) for prompt in prompts]
            found = loaded.sample(tokens, samples=samples, temperature=temperature, seed=seed, on_done=done, **limits)
            return [[answer.text for answer in group] for group in found]

        yield llama, from_file


def choice_rates(lm: TemplateLM, items: Sequence[EvalItem], temperature: float) -> dict[str, float]:
    """Probability of drawing the right choice from the softmax of the choices' log-probabilities at `temperature`."""
    from lm_eval.api.instance import Instance

    requests = [
        Instance("loglikelihood", {"id": item.id}, (item.prompt, choice), index, ("choice-items", index, 1))
        for item in items
        for index, choice in enumerate(item.choices)
    ]
    found = iter(lm.loglikelihood(requests) if requests else ())
    rates = {}
    for item in items:
        scaled = [next(found)[0] / temperature for _ in item.choices]
        weights = [exp(value - max(scaled)) for value in scaled]
        rates[item.id] = weights[item.choices.index(item.answer)] / sum(weights)
    return rates


class Count:
    """Progress over the draws; the second one is known only after the first."""

    def __init__(self, total: int, done: int, report: Report | None) -> None:
        self.total, self.done, self.report = total, done, report

    def __call__(self, index: int) -> None:
        self.done += 1
        if self.report is not None:
            self.report(self.done, self.total, "sampled items")


def difficulty_job(payload: Mapping[str, Any], report: Report) -> dict[str, Any]:
    """`rank` for process.run.

    Payload: model, runtime, files, decoding, batch, threads, context_tokens, seed, and where they differ from the defaults samples
    and temperature. Returns {"ranking": [[id, pass rate], ...] hardest first, "how": in words}.
    """
    samples, temperature = payload.get("samples", SAMPLES), payload.get("temperature", TEMPERATURE)
    ranking = rank(
        read_item_files([Path(file) for file in payload["files"]]),
        model=Path(payload["model"]),
        decoding=Decoding.model_validate(payload["decoding"]),
        batch=payload["batch"],
        threads=payload["threads"],
        context_tokens=payload.get("context_tokens", 512),
        samples=samples,
        temperature=temperature,
        seed=payload.get("seed", 0),
        runtime=payload.get("runtime", "llama.cpp"),
        on_progress=report,
    )
    how = (
        f"share of {samples} answers sampled at temperature {temperature} that are right, full precision in {payload.get('runtime', 'llama.cpp')}, "
        f"seed {payload.get('seed', 0)}; ties: the longer answer first. The graded greedy answer is not used."
    )
    return {"ranking": [[one.id, one.pass_rate] for one in ranking], "how": how}
