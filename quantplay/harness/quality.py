"""One model over evaluation items: who answered what, and how well.

Both runtimes get the same prompts, decoding and scoring through lm-eval. A prompt that does not fit is an error.
"""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal, get_args

from quantplay.engines.model_file import model_folder
from quantplay.errors import InputError
from quantplay.evalset import EvalItem, TaskFile, read_item_files, read_task_file
from quantplay.formats import SERVERS, loads_gguf
from quantplay.harness.asked import asked, serving_of
from quantplay.harness.identity import harness_digest
from quantplay.harness.limits import require_fit
from quantplay.plan import Decoding
from quantplay.records import ItemResult

if TYPE_CHECKING:
    from lm_eval.api.model import TemplateLM

    from quantplay.engines.llama_cpp import CacheType

__all__ = ["Measured", "Runtime", "evaluate", "evaluate_job", "harness_digest", "measure"]

Runtime = Literal["transformers", "llama.cpp", "llama.cpp-server", "vllm"]
Report = Callable[[int, int, str], None]
OWN_TASKS = ("items", "choice-items")  # names of the tasks that tasks.item_tasks makes
SOURCE_PRECISION = "float32"  # the source arm; CPU kernels of half precision differ too much between machines


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Every item's result, and what the runtime was asked under which settings."""

    items: tuple[ItemResult, ...]
    prompts: str  # digest of every request as the runtime got it: text, stop strings, limits
    tokens: str  # digest of the same texts' token ids
    serving: dict[str, str]  # how the runtime said it was set up


def evaluate(**arguments: Any) -> tuple[ItemResult, ...]:
    """The items of `measure`, for who wants nothing else."""
    return measure(**arguments).items


def measure(
    *,
    runtime: Runtime,
    model: Path,
    items: Sequence[EvalItem],
    extra_tasks: Sequence[TaskFile] = (),
    decoding: Decoding,
    batch: int,
    threads: int,
    order_seed: int | None = None,
    context_tokens: int = 512,
    gold_loss_ids: Collection[str] = (),
    cache_type: CacheType = "f16",
    tokenizer: Path | None = None,
    on_progress: Report | None = None,
) -> Measured:
    """Results of all items in their order, then of the task files' documents in theirs.

    `model` is a folder (transformers, vLLM) or a GGUF file (llama.cpp in process or as a server, which needs the folder of its
    `tokenizer`). `batch` prompts run together, `order_seed` shuffles
    what the runtime sees and nothing else. `gold_loss_ids` are items whose expected answer's mean loss is measured as
    well (nats a token). `cache_type` is that of llama.cpp's key-value cache; f32 to compare runtimes. Raises InputError, listing every item that does not fit `context_tokens`.
    """
    from quantplay.harness.tasks import SCORE, ChoiceTask, item_tasks

    require_ids(items, gold_loss_ids)
    require_names(extra_tasks)
    if not items and not extra_tasks:
        raise InputError("there is nothing to evaluate", allowed="at least one item or task file")
    shuffled = list(items)
    if order_seed is not None:
        Random(order_seed).shuffle(shuffled)  # noqa: S311 - an order, no secret
    scores: dict[str, tuple[float, str]] = {}
    with quiet(), TemporaryDirectory(prefix="quantplay-") as scratch:
        from quantplay.harness.task_files import file_results, file_tasks, sandboxed_templates

        with (
            sandboxed_templates(),
            open_model(runtime, model, batch, threads, context_tokens, cache_type, tokenizer) as lm,
        ):
            own = item_tasks(shuffled, decoding)
            theirs = file_tasks(extra_tasks, decoding, Path(scratch))
            requests = sum(max(1, len(item.choices)) for item in items)
            documents = sum(len(list(task.eval_docs)) for task in theirs.values())
            progress = Progress(requests + documents + len(gold_loss_ids), on_progress)
            lm.set_cache_hook(progress)  # type: ignore[arg-type]
            samples = run_tasks(lm, own | theirs)
            for name, task in own.items():
                for sample in samples[name]:
                    response = sample["filtered_resps"][0]
                    if isinstance(task, ChoiceTask):
                        response = task.answer(sample["doc"], sample["filtered_resps"])
                    scores[sample["doc"]["id"]] = sample[SCORE], response
            wanted = [item for item in items if item.id in set(gold_loss_ids)]
            losses = gold_losses(lm, wanted)
            extra = [
                result for file in extra_tasks for result in file_results(file, theirs[file.name], samples[file.name])
            ]
            prompts, tokens = asked(lm, samples)
            serving = serving_of(lm)
            progress.finish()
    results = [
        ItemResult(
            id=item.id,
            slice=item.slice,
            cluster=item.document,
            score=scores[item.id][0],
            response=scores[item.id][1],
            gold_loss_nats=losses.get(item.id),
        )
        for item in items
    ]
    require_unique([*results, *extra])
    return Measured(items=(*results, *extra), prompts=prompts, tokens=tokens, serving=serving)


def run_tasks(lm: TemplateLM, tasks: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Task name -> lm-eval's sample records."""
    from jinja2 import TemplateError
    from lm_eval.evaluator import evaluate as lm_eval_evaluate

    try:
        found = lm_eval_evaluate(lm, {"tasks": dict(tasks)}, bootstrap_iters=0, log_samples=True)  # type: ignore[arg-type]
    except TemplateError as error:
        raise InputError(
            f"a template of a task file can't be rendered: {type(error).__name__}: {error}",
            allowed="the document's fields and Jinja's filters; nothing that reaches into Python",
        ) from error
    assert found is not None
    return found["samples"]  # type: ignore[return-value]


@contextmanager
def open_model(
    runtime: Runtime,
    model: Path,
    batch: int,
    threads: int,
    context_tokens: int,
    cache_type: CacheType = "f16",
    tokenizer: Path | None = None,
) -> Iterator[TemplateLM]:
    """The model as lm-eval sees it, for as long as the block runs."""
    if runtime == "transformers":
        import torch

        from quantplay.harness.lm_transformers import open_transformers

        torch.set_num_threads(threads)
        with model_folder(model) as folder:
            yield open_transformers(folder, dtype=SOURCE_PRECISION, batch=batch, context_tokens=context_tokens)
    elif runtime == "llama.cpp":
        from quantplay.engines.llama_cpp import LlamaModel
        from quantplay.harness.lm_llama import LlamaLM

        with LlamaModel(
            model, threads=threads, context_tokens=context_tokens, sequences=batch, cache_type=cache_type
        ) as loaded:
            yield LlamaLM(loaded)
    elif runtime in SERVERS:
        from quantplay.harness.lm_server import ServerLM
        from quantplay.harness.server import served
        from quantplay.harness.server_command import Serving

        gguf = loads_gguf(runtime)
        if tokenizer is None and gguf:
            raise InputError(
                "prompts for a served GGUF file need its tokenizer", allowed="the folder of the source model"
            )
        with nullcontext(model) if gguf else model_folder(model) as loaded:
            serving = Serving(
                runtime=runtime,
                model=loaded,
                context_tokens=context_tokens,
                concurrency=batch,
                threads=threads,
                cache_type=cache_type,
                scores=True,
            )
            with served(serving) as server:
                yield ServerLM(
                    server, (tokenizer if gguf else None) or loaded, context_tokens=context_tokens, concurrency=batch
                )
    else:
        raise InputError("unknown runtime", value=runtime, allowed=", ".join(get_args(Runtime)))


def gold_losses(lm: TemplateLM, items: Sequence[EvalItem]) -> dict[str, float]:
    """Item id -> mean negative log-probability of the expected answer's tokens, in nats a token.

    The answer's tokens are those of prompt and answer together that come after the tokens of the prompt alone.
    """
    requests = []
    for item in items:
        prompt, whole = lm.tok_encode(item.prompt), lm.tok_encode(item.prompt + item.following(item.answer))
        shared = next((i for i, (a, b) in enumerate(zip(prompt, whole, strict=False)) if a != b), len(prompt))
        prompt, answer = whole[:shared] or [lm.prefix_token_id], whole[shared:]
        requests.append((None, prompt, answer))
    needs = ((item.id, len(p), len(a)) for item, (_, p, a) in zip(items, requests, strict=True))
    require_fit(needs, lm.max_length)  # type: ignore[attr-defined]
    if not requests:
        return {}
    found = lm._loglikelihood_tokens(requests, disable_tqdm=True)
    return {
        item.id: -log_probability / len(answer)
        for item, (_, _, answer), (log_probability, _) in zip(items, requests, found, strict=True)
    }


class Progress:
    """lm-eval tells its cache hook of every finished request; this one counts instead of caching."""

    def __init__(self, total: int, report: Report | None) -> None:
        self.total, self.done, self.report = total, 0, report

    def add_partial(self, kind: str, arguments: Any, result: Any) -> None:
        self.done += 1
        if self.report is not None:
            self.report(min(self.done, self.total), self.total, "answers")

    def finish(self) -> None:
        if self.report is not None:
            self.report(self.total, self.total, "answers")


@contextmanager
def quiet() -> Iterator[None]:
    """Without lm-eval's progress bars, which can't be turned off one by one, its log and third-party warnings.

    What matters of these warnings (cut prompts, sampling, wrong metrics) is an error of ours before lm-eval runs.
    """
    loggers = [logging.getLogger(name) for name in ("lm_eval", "datasets", "transformers", "accelerate", "asyncio")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def require_ids(items: Sequence[EvalItem], wanted: Collection[str]) -> None:
    unknown = sorted(set(wanted) - {item.id for item in items})
    if unknown:
        raise InputError("these ids are not in the item files", value=", ".join(unknown), allowed="ids of the items")


def require_names(files: Sequence[TaskFile]) -> None:
    names = Counter([*(file.name for file in files), *OWN_TASKS])
    twice = [name for name, count in names.items() if count > 1]
    if twice:
        raise InputError(
            "task names are used twice, or are taken by the item files",
            value=", ".join(twice),
            allowed=f"one file a name; not {' or '.join(OWN_TASKS)}",
            fix="rename the task",
        )


def require_unique(results: Sequence[ItemResult]) -> None:
    twice = [name for name, count in Counter(result.id for result in results).items() if count > 1]
    if twice:
        raise InputError(
            "an id is used twice over items and task files",
            value=", ".join(twice),
            fix="give every document an id of its own",
        )


def evaluate_job(payload: Mapping[str, Any], report: Report) -> dict[str, Any]:
    """`evaluate` for process.run.

    Payload: runtime, model, files (item files), tasks (task files), allow_code, decoding, batch, threads, order_seed,
    context_tokens, cache_type, gold_loss_ids, tokenizer, and only_ids to run these items alone, without the task files. Returns {"items": [...], "precision", "prompts", "tokens", "serving"}.
    """
    runtime, model = payload["runtime"], Path(payload["model"])
    items = read_item_files([Path(file) for file in payload["files"]])
    tasks = payload.get("tasks", ())
    if payload.get("only_ids") is not None:
        tasks = ()
        wanted = set(payload["only_ids"])
        require_ids(items, wanted)
        items = tuple(item for item in items if item.id in wanted)
    measured = measure(
        runtime=runtime,
        model=model,
        items=items,
        extra_tasks=[read_task_file(Path(file), payload.get("allow_code", ())) for file in tasks],
        decoding=Decoding.model_validate(payload["decoding"]),
        batch=payload["batch"],
        threads=payload["threads"],
        order_seed=payload.get("order_seed"),
        context_tokens=payload.get("context_tokens", 512),
        cache_type=payload.get("cache_type") or "f16",
        gold_loss_ids=payload.get("gold_loss_ids", ()),
        tokenizer=Path(payload["tokenizer"]) if payload.get("tokenizer") else None,
        on_progress=report,
    )
    precision = gguf_precision(model) if loads_gguf(runtime) else folder_precision(model, runtime)
    return {
        "items": [result.body() for result in measured.items], "precision": precision,
        "prompts": measured.prompts, "tokens": measured.tokens, "serving": measured.serving,
    }  # fmt: skip


def gguf_precision(path: Path) -> str:
    """The serving type a GGUF file says it is (Q4_K_M), or its number where we have no name for it."""
    from quantplay.engines.gguf_header import read_gguf_header
    from quantplay.formats import TYPES

    ftype = read_gguf_header(path).metadata.get("general.file_type")
    return next((name for name, kind in TYPES.items() if kind.ftype == ftype), f"ftype {ftype}")


def folder_precision(folder: Path, runtime: Runtime) -> str:
    """What a model folder is computed in: the source arm's precision, or what its config says to a server."""
    if runtime == "transformers":
        return SOURCE_PRECISION
    with model_folder(folder) as found:
        config = json.loads((found / "config.json").read_text(encoding="utf-8"))
    return str(config.get("torch_dtype") or config.get("dtype") or "as the runtime chooses")
