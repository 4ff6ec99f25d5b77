"""How far a candidate's next-token distributions lie from full precision's, over held-out text. Alarms, never a verdict.

The positions are those of llama.cpp's own `llama-perplexity --kl-divergence`: the texts are joined, tokenized once, cut into
chunks of the context's length, every chunk starts from an empty cache with its first token replaced by the begin-of-text
token, and the predictions in its second half are scored. One chunk of logits is in memory at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from quantplay.engines.llama_cpp import CacheType, LlamaModel
from quantplay.engines.logits import Floats, blocks, log_softmax
from quantplay.errors import InputError
from quantplay.evalset import read_texts
from quantplay.process import Report
from quantplay.records import Divergence

if TYPE_CHECKING:
    from quantplay.engines.transformers_logits import FolderModel

SEPARATOR = "\n"
FEWEST_CHUNKS = 2  # below that a standard error has no meaning; llama-perplexity refuses as well


@dataclass(frozen=True)
class Compared:
    """What is kept of every scored position; arrays of shape (chunks, positions a chunk)."""

    kl: Floats  # KL(reference || candidate), nats
    same_top: NDArray[np.bool_]  # both find the same token most likely
    loss_reference: Floats  # -log p(next token), nats
    loss_candidate: Floats


def measure_divergence(
    reference: Path,
    candidate: Path,
    texts: Sequence[str],
    *,
    context_tokens: int,
    threads: int,
    cache_type: CacheType = "f16",
    runtime: str = "llama.cpp",
    on_progress: Report | None = None,
) -> Divergence:
    """Candidate against reference, both as `runtime` loads them. Raises InputError when the two tokenize differently or the text is short."""
    compared = compare_models(
        reference,
        candidate,
        texts,
        context_tokens=context_tokens,
        threads=threads,
        cache_type=cache_type,
        runtime=runtime,
        on_progress=on_progress,
    )
    return summarize(compared)


def divergence_job(payload: dict[str, Any], report: Report) -> dict[str, Any]:
    """Job: `reference`, `candidate`, `file` (JSONL with id and text), `context_tokens`, `threads`, `runtime` -> body of Divergence."""
    return measure_divergence(
        Path(payload["reference"]),
        Path(payload["candidate"]),
        [sample.text for sample in read_texts(Path(payload["file"]))],
        context_tokens=payload["context_tokens"],
        threads=payload["threads"],
        runtime=payload.get("runtime", "llama.cpp"),
        on_progress=report,
    ).body()


def compare_models(
    reference: Path,
    candidate: Path,
    texts: Sequence[str],
    *,
    context_tokens: int,
    threads: int,
    cache_type: CacheType = "f16",
    runtime: str = "llama.cpp",
    on_progress: Report | None = None,
) -> Compared:
    """Every scored position, for who wants more than the summary."""
    text = SEPARATOR.join(texts)
    settings: dict[str, Any] = {"threads": threads, "context_tokens": context_tokens}
    kind: Any = LlamaModel
    if runtime == "transformers":
        from quantplay.engines.transformers_logits import FolderModel as kind  # noqa: N813 - one of two classes
    else:
        settings["cache_type"] = cache_type
    with kind(reference, **settings) as first, kind(candidate, **settings) as second:
        tokens = first.tokenize(text)
        if first.vocabulary != second.vocabulary or tokens != second.tokenize(text):
            raise InputError(
                "reference and candidate do not share a tokenizer, so their distributions can't be compared",
                value=f"{reference.name}: {first.vocabulary} tokens, {candidate.name}: {second.vocabulary} tokens",
                allowed="two files converted from one model",
            )
        chunks = cut(tokens, context_tokens)
        results = []
        for number, chunk in enumerate(chunks, start=1):
            results.append(compare_chunk(first, second, chunk))
            if on_progress is not None:
                on_progress(number, len(chunks), "chunks of held-out text compared")
    return Compared(*(np.stack(columns) for columns in zip(*results, strict=True)))


def cut(tokens: Sequence[int], context_tokens: int) -> list[Sequence[int]]:
    """Whole chunks of `context_tokens`; what is left over at the end is not used."""
    count = len(tokens) // context_tokens
    if count < FEWEST_CHUNKS:
        raise InputError(
            "too little held-out text to measure divergence",
            value=f"{len(tokens)} tokens",
            allowed=f"at least {FEWEST_CHUNKS * context_tokens} tokens: {FEWEST_CHUNKS} chunks of the context",
            fix="add texts to evaluation.heldout, or lower envelope.context_tokens",
        )
    return [tokens[number * context_tokens : (number + 1) * context_tokens] for number in range(count)]


def compare_chunk(
    reference: LlamaModel | FolderModel, candidate: LlamaModel | FolderModel, chunk: Sequence[int]
) -> tuple[Floats, NDArray[np.bool_], Floats, Floats]:
    """The columns of `Compared` for one chunk, each of shape (positions,)."""
    begin = reference.begin_token
    fed = chunk if begin is None else [begin, *chunk[1:]]
    first = len(chunk) // 2
    # after position i comes chunk[i + 1]; the last position has no successor
    targets = np.asarray(chunk[first + 1 :])
    return compare_rows(reference.logits(fed[:-1], first), candidate.logits(fed[:-1], first), targets)


def compare_rows(
    reference: NDArray[np.floating], candidate: NDArray[np.floating], targets: NDArray[np.integer]
) -> tuple[Floats, NDArray[np.bool_], Floats, Floats]:
    """KL, agreement and both losses of every row: logits (n, vocabulary), targets (n,) -> four arrays (n,)."""
    columns = []
    for part in blocks(*reference.shape):
        p, q, next_token = log_softmax(reference[part]), log_softmax(candidate[part]), targets[part, None]
        # rounding can leave a distance of nearly 0 a little below it
        kl = np.maximum((np.exp(p) * (p - q)).sum(axis=1), 0.0)
        same = p.argmax(axis=1) == q.argmax(axis=1)
        losses = (-np.take_along_axis(log, next_token, axis=1)[:, 0] for log in (p, q))
        columns.append((kl, same, *losses))
    kl, same, loss_reference, loss_candidate = (np.concatenate(column) for column in zip(*columns, strict=True))
    return kl, same, loss_reference, loss_candidate


def summarize(compared: Compared) -> Divergence:
    """Means over all positions; standard errors clustered by chunk, because neighbouring positions share their text."""
    ratio = compared.loss_candidate - compared.loss_reference
    return Divergence(
        tokens=compared.kl.size,
        mean_kl_nats=float(compared.kl.mean()),
        mean_kl_se=clustered_error(compared.kl),
        p99_kl_nats=float(np.percentile(compared.kl, 99)),
        max_kl_nats=float(compared.kl.max()),
        top1_agreement=float(compared.same_top.mean()),
        top1_se=clustered_error(compared.same_top),
        perplexity_reference=float(np.exp(compared.loss_reference.mean())),
        perplexity_candidate=float(np.exp(compared.loss_candidate.mean())),
        log_perplexity_ratio_se=clustered_error(ratio),
    )


def clustered_error(values: NDArray[Any]) -> float:
    """Standard error of the mean of `values` (clusters, values a cluster): clusters are of one size and independent."""
    return float(values.mean(axis=1).std(ddof=1) / np.sqrt(len(values)))
