"""Names of public texts and public tests, as data: what a calibration set or an evaluation set of one's own is not called."""

from __future__ import annotations

import re
from collections.abc import Iterable

CORPORA = (
    "wikitext", "wikitext2", "wikitext103", "wikipedia", "c4", "pile", "pileval", "pile val", "ptb", "penn treebank", "openwebtext",
    "webtext", "redpajama", "slimpajama", "fineweb", "refinedweb", "bookcorpus", "commoncrawl", "common crawl", "cc100", "mc4",
    "ultrachat", "sharegpt", "alpaca", "dolly", "openorca", "open platypus", "openhermes", "tinystories", "the stack", "starcoder data",
    "codeparrot", "dolma", "lambada", "shakespeare", "tinyshakespeare", "gutenberg", "lorem ipsum", "random data", "random tokens",
    "calibration datav3", "groups merged", "cosmopedia", "falcon refinedweb", "wiki raw", "wiki train", "wiki test",
)  # fmt: skip
BENCHMARKS = (
    "mmlu", "mmlu pro", "hellaswag", "arc easy", "arc challenge", "ai2 arc", "winogrande", "gsm8k", "truthfulqa", "piqa", "boolq",
    "humaneval", "mbpp", "bbh", "big bench", "bigbench", "openbookqa", "squad", "triviaqa", "natural questions", "naturalquestions",
    "ifeval", "gpqa", "math500", "math 500", "hendrycks math", "mt bench", "alpacaeval", "alpaca eval", "glue", "superglue", "ceval",
    "cmmlu", "agieval", "commonsenseqa", "siqa", "lambada", "lambada openai", "wikitext", "c4", "ptb", "longbench",
)  # fmt: skip


def named_in(texts: Iterable[str], names: Iterable[str]) -> str | None:
    """The first of `names` that stands in one of `texts` as whole words; - _ . / part words as spaces do."""
    plain = [f" {words(text)} " for text in texts]
    return next((name for name in names if any(f" {name} " in text for text in plain)), None)


def words(text: str) -> str:
    return " ".join(re.findall(r"[a-z0-9]+", text.casefold()))
