"""Does our harness score as lm-eval does? `python -m benchmarks.lm_eval_oracle [--quick]`

The same items through plain lm-eval (`simple_evaluate` with lm-eval's own HFLM, its filters and metrics) and through quantplay's
harness, for the pilot and for the pilot with noise on its weights, which gets many answers wrong, so that agreement means something:
- through transformers every response and every score is identical;
- through llama.cpp, with the float32 file and a float32 cache, at least 99.5 % of the scores are, and every item that differs is shown
  with its logit gap: how far apart transformers finds the two tokens at the first one the answers do not share (of a choice:
  the two likeliest choices). A real fault would show as a wide gap. The float16 cache of a run is reported beside it.
Items: all 3,000 of the gate (numbers, JSON, exact text), 100 more for the scorer `contains`, choices made from the pages, and a team's
own task files (generation with examples, choices, likelihood). `--quick`: a few of each.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.lm_eval_tasks import choice_items, contains_items, plain_tasks, write_team_files
from benchmarks.models import PILOT, save_handicapped
from benchmarks.report import at_least, at_most, finish, print_table, quick_asked
from quantplay.engines.converter import convert, ensure_converter
from quantplay.engines.llama_cpp import CacheType, LlamaModel
from quantplay.evalset import EvalItem, TaskFile, read_items, read_task_file
from quantplay.harness.quality import Runtime, evaluate, quiet
from quantplay.plan import Decoding
from quantplay.records import ItemResult
from quantplay.settings import settings

DECODING = Decoding(max_tokens=64, stop=("\n",))
CONTEXT_TOKENS = 512
BATCH = 16
NOISE = 0.25  # of each matrix' standard deviation: about half of the answers are wrong
SERVED = "llama.cpp as served"  # with llama.cpp's own float16 cache, as the arms of a run
QUICK_ITEMS = 6  # a slice


@dataclass(frozen=True)
class Answered:
    """One item in plain lm-eval."""

    prompt: str
    response: str | None  # None where there is no text: likelihoods
    score: float
    likelihoods: tuple[float, ...]  # of the choices, nats; empty for a generated answer


def main() -> int:
    gate = read_items(PILOT / "evaluation" / "gate.jsonl")
    if quick_asked():
        gate = tuple(item for item in gate if int(item.id[-4:]) < QUICK_ITEMS)
    choices = choice_items(gate)
    items = [*gate, *contains_items(gate), *choices]
    models: dict[str, dict[str, Any]] = {}
    differing: list[tuple[Any, ...]] = []
    with tempfile.TemporaryDirectory() as folder, quiet():
        work = Path(folder)
        os.environ["HF_HOME"] = str(work / "hub")  # lm-eval copies every data set there
        team_gate = [item for item in gate if item.scorer == "exact"][:100]
        team = write_team_files(work, team_gate, choices[:100], PILOT / "evaluation" / "dev.jsonl")
        noisy = save_handicapped(work / "model", PILOT / "model", noise=NOISE)
        for name, model in {"pilot": PILOT / "model", "with noise": noisy}.items():
            reference = work / f"{name}.gguf"
            convert(ensure_converter(settings().cache), model, reference)
            models[name], found = compare(model, reference, items, team, work)
            differing += [(name, *row) for row in found]
    show(models, differing)
    both = list(models.values())
    goals = {
        "transformers_identical_responses": at_least(
            min(one["transformers_responses_percent"] for one in both), 100, "%"
        ),
        "transformers_identical_scores": at_least(min(one["transformers_scores_percent"] for one in both), 100, "%"),
        "llama.cpp_identical_scores": at_least(min(one["llama.cpp_scores_percent"] for one in both), 99.5, "%"),
        "widest_gap_of_a_difference": at_most(
            max((row[-1] for row in differing if row[1] != SERVED), default=0.0), 0.01, "logits"
        ),
        "handicapped_right": at_most(models["with noise"]["right_percent"], 80, "%"),
        "handicapped_still_right": at_least(models["with noise"]["right_percent"], 20, "%"),
    }
    return finish("lm_eval_oracle", {"noise": NOISE, "batch": BATCH, "models": models}, goals)


def compare(
    model: Path, reference: Path, items: Sequence[EvalItem], team: Sequence[Path], work: Path
) -> tuple[dict[str, Any], list[tuple[Any, ...]]]:
    """Figures of one model, and every item that an arm scores unlike plain lm-eval, with the gap last."""
    plain = plain_lm_eval(model, items, team, work)
    files = [read_task_file(path) for path in team]
    arms = {
        "transformers": through("transformers", model, items, files, "f32"),
        "llama.cpp": through("llama.cpp", reference, items, files, "f32"),
        SERVED: through("llama.cpp", reference, items, files, "f16"),
    }
    texts = [name for name, one in plain.items() if one.response is not None]
    figures: dict[str, Any] = {"items": len(plain), "right_percent": percent(one.score for one in plain.values())}
    rows = []
    for arm, results in arms.items():
        assert results.keys() == plain.keys()
        unlike = {name: one for name, one in plain.items() if one.score != results[name].score}
        figures[f"{arm}_responses_percent"] = percent(plain[name].response == results[name].response for name in texts)
        figures[f"{arm}_scores_percent"] = 100 - 100 * len(unlike) / len(plain)
        gaps = logit_gaps(model, reference, unlike, "f16" if arm == SERVED else "f32")
        rows += [(arm, name, one.response or "", results[name].response, gaps[name]) for name, one in unlike.items()]
    return figures, rows


def percent(values: Any) -> float:
    found = [float(value) for value in values]
    return 100 * sum(found) / len(found)


def through(
    runtime: Runtime, model: Path, items: Sequence[EvalItem], files: Sequence[TaskFile], cache_type: CacheType
) -> dict[str, ItemResult]:
    """quantplay's harness, by item."""
    results = evaluate(
        runtime=runtime, model=model, items=items, extra_tasks=files, decoding=DECODING, batch=BATCH, threads=1,
        context_tokens=CONTEXT_TOKENS, cache_type=cache_type,
    )  # fmt: skip
    return {result.id: result for result in results}


def plain_lm_eval(model: Path, items: Sequence[EvalItem], team: Sequence[Path], work: Path) -> dict[str, Answered]:
    """lm-eval by itself: its own model, its own loading of the task files."""
    import torch
    from lm_eval.evaluator import simple_evaluate
    from lm_eval.tasks import TaskManager

    torch.set_num_threads(1)
    found = simple_evaluate(
        model="hf",
        model_args={"pretrained": str(model), "dtype": "float32"},
        batch_size=BATCH,
        device="cpu",
        tasks=[*plain_tasks(items, DECODING, work), *(path.stem for path in team)],
        task_manager=TaskManager(include_path=str(work), include_defaults=False),
        bootstrap_iters=0,
        log_samples=True,
    )
    assert found is not None
    samples = [sample for task in found["samples"].values() for sample in task]
    return {sample["doc"]["id"]: answered(sample) for sample in samples}


def answered(sample: Mapping[str, Any]) -> Answered:
    """One of lm-eval's sample records."""
    score = float(sample[sample["metrics"][0]])
    arguments = list(sample["arguments"].values()) if isinstance(sample["arguments"], dict) else sample["arguments"]
    prompt = next(iter(arguments[0].values())) if isinstance(arguments[0], dict) else arguments[0][0]
    first = sample["resps"][0][0]
    if isinstance(first, str):
        return Answered(prompt, first, score, ())
    likelihoods = tuple(float(responses[0][0]) for responses in sample["resps"])
    choice = sample["doc"]["choices"][int(np.argmax(likelihoods))] if len(likelihoods) > 1 else None
    return Answered(prompt, choice, score, likelihoods)


def logit_gaps(model: Path, reference: Path, unlike: Mapping[str, Answered], cache_type: CacheType) -> dict[str, float]:
    """Item -> how far apart transformers finds what decided it, in logits (of choices and likelihoods: nats)."""
    import torch

    from quantplay.engines.transformers_model import load_model
    from quantplay.harness.lm_llama import LlamaLM

    source = load_model(model)
    gaps = {}
    with LlamaModel(reference, threads=1, context_tokens=CONTEXT_TOKENS, cache_type=cache_type) as llama:
        lm = LlamaLM(llama)
        for name, one in unlike.items():
            if len(one.likelihoods) > 1:
                best, second = sorted(one.likelihoods, reverse=True)[:2]
                gaps[name] = best - second
                continue
            prompt = lm.tok_encode(one.prompt)
            said = llama.generate([prompt], max_tokens=DECODING.max_tokens, stop=DECODING.stop)[0].tokens
            with torch.inference_mode():
                rows = source(input_ids=torch.tensor([[*prompt, *said]])).logits[0, len(prompt) - 1 : -1].numpy()
            behind = rows.max(axis=1) - rows[np.arange(len(said)), list(said)]
            top_two = np.sort(rows, axis=1)[:, -2:]
            # where alone in its batch llama.cpp follows transformers: the closest decision on the way
            gaps[name] = float(behind[behind > 0][0] if (behind > 0).any() else (top_two[:, 1] - top_two[:, 0]).min())
    return gaps


def show(models: Mapping[str, Mapping[str, Any]], differing: Sequence[tuple[Any, ...]]) -> None:
    names = list(next(iter(models.values())))
    print_table(["against plain lm-eval", *models], [[name.replace("_", " "), *(one[name] for one in models.values())] for name in names])  # fmt: skip
    if differing:
        print()
        rows = [
            (f"{model}, {arm}: {name}", repr(expected[:60]), repr(found[:60]), gap)
            for model, arm, name, expected, found, gap in differing
        ]
        print_table(("scored differently", "plain lm-eval", "harness", "logit gap"), rows)


if __name__ == "__main__":
    sys.exit(main())
