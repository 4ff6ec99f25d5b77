"""Does our divergence agree with llama.cpp's own tool? `python -m benchmarks.kld_oracle [--quick]`

The pilot model in full precision against its quantized files, over the pilot's held-out text: quantplay's
`measure_divergence` beside `llama-perplexity --kl-divergence`, with the same positions, begin-of-text token and cache type.
Promise: mean KL within 2 % or 2e-4 nats, whichever is larger. The tool stores the reference's log-probabilities in 16 bits,
which is where the 2e-4 comes from. `--quick`: one type.
"""

from __future__ import annotations

import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.llama_tools import build, run
from benchmarks.report import at_most, finish, print_table, quick_asked
from quantplay.engines.converter import convert, ensure_converter
from quantplay.engines.llama_cpp import CacheType
from quantplay.engines.llama_quantize import quantize_file
from quantplay.evalset import read_texts
from quantplay.formats import TYPES
from quantplay.harness.divergence import SEPARATOR, measure_divergence
from quantplay.settings import settings

PILOT = Path(__file__).parents[1] / "examples" / "pilot"
CONTEXT_TOKENS = 512
SMALLEST_TOLERANCE = 2e-4  # nats
TRIES = 5
CASES: tuple[tuple[str, CacheType], ...] = (
    ("Q4_K_M", "f16"), ("F32", "f16"), ("Q8_0", "f16"), ("Q5_K_M", "f16"), ("Q4_0", "f16"), ("Q3_K_M", "f16"),
    ("Q2_K", "f16"), ("Q4_K_M", "f32"),
)  # fmt: skip
NUMBER = r"([-+0-9.einfa]+)"
FIGURES = {
    "mean_kl_nats": rf"^Mean +KLD: +{NUMBER}",
    "p99_kl_nats": rf"^99\.0% +KLD: +{NUMBER}",
    "max_kl_nats": rf"^Maximum KLD: +{NUMBER}",
    "top1_percent": rf"^Same top p: +{NUMBER}",
    "perplexity_reference": rf"^Mean PPL\(base\) +: +{NUMBER}",
    "perplexity_candidate": rf"^Mean PPL\(Q\) +: +{NUMBER}",
}


def main() -> int:
    cases = CASES[:1] if quick_asked() else CASES
    texts = [sample.text for sample in read_texts(PILOT / "heldout" / "text.jsonl")]
    started = time.perf_counter()
    program = build("perplexity", settings().cache)
    built = time.perf_counter() - started
    results = []
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        reference, text = work / "reference.gguf", work / "text.txt"
        convert(ensure_converter(settings().cache), PILOT / "model", reference)
        text.write_text(SEPARATOR.join(texts), encoding="utf-8")
        for type_name, cache_type in cases:
            candidate = work / f"{type_name}.gguf"
            ftype = TYPES[type_name].ftype
            assert ftype is not None
            quantize_file(reference, candidate, ftype=ftype, threads=1)
            ours = measure_divergence(
                reference, candidate, texts, context_tokens=CONTEXT_TOKENS, threads=1, cache_type=cache_type
            )
            oracle = tool_figures(
                program, reference, candidate, text, work, context_tokens=CONTEXT_TOKENS, cache_type=cache_type
            )
            difference = abs(ours.mean_kl_nats - oracle["mean_kl_nats"])
            allowed = max(0.02 * oracle["mean_kl_nats"], SMALLEST_TOLERANCE)
            results.append(
                {
                    "type": type_name,
                    "cache": cache_type,
                    "positions": ours.tokens,
                    "quantplay": {
                        "mean_kl_nats": ours.mean_kl_nats,
                        "p99_kl_nats": ours.p99_kl_nats,
                        "max_kl_nats": ours.max_kl_nats,
                        "top1_percent": 100 * ours.top1_agreement,
                        "perplexity_reference": ours.perplexity_reference,
                        "perplexity_candidate": ours.perplexity_candidate,
                    },
                    "llama_perplexity": oracle,
                    "share_of_tolerance": difference / allowed,
                }
            )
    show(results)
    worst = max(result["share_of_tolerance"] for result in results)
    figures = {"build_seconds": round(built, 1), "context_tokens": CONTEXT_TOKENS, "cases": results}
    return finish("kld_oracle", figures, {"difference_as_share_of_tolerance": at_most(worst, 1.0)})


def tool_figures(
    program: Path, reference: Path, candidate: Path, text: Path, work: Path, *, context_tokens: int, cache_type: str
) -> dict[str, float]:
    """The tool's figures for candidate against reference: two runs, the first writes the reference's log-probabilities.

    They are stored in 16 bits and cut off at 16 nats below the highest, so its perplexity of the reference is too low
    where the text surprises the model; its perplexity of the candidate is not.
    """
    logits = work / "reference.logits"
    common = ["-c", str(context_tokens), "-b", str(context_tokens), "-t", "1", "-ct", cache_type]
    base = ["--kl-divergence-base", str(logits)]
    run([str(program), "-m", str(reference), "-f", str(text), *base, *common])
    # Its log is written by a thread that nobody waits for at the end: on a busy machine the last lines, which are these, can be lost
    # (ggml-org/llama.cpp issue 22142).
    output, missing = "", list(FIGURES)
    for _ in range(TRIES):
        output = run([str(program), "-m", str(candidate), "--kl-divergence", *base, *common])
        found = {name: re.search(pattern, output, re.MULTILINE) for name, pattern in FIGURES.items()}
        missing = [name for name, match in found.items() if match is None]
        if not missing:
            logits.unlink()
            return {name: float(match[1]) for name, match in found.items() if match is not None}
    raise RuntimeError(f"llama-perplexity did not print {', '.join(missing)}:\n{output[-2000:]}")


def show(results: list[dict[str, Any]]) -> None:
    """One row a case; quantplay's figure, then the tool's."""
    names = {"mean_kl_nats": "mean KL", "p99_kl_nats": "p99", "top1_percent": "top-1 %", "perplexity_candidate": "ppl"}
    header = [
        "type, cache",
        *(f"{title} {who}" for title in names.values() for who in ("ours", "tool")),
        "of tolerance",
    ]
    rows = [
        [
            f"{result['type']}, {result['cache']}",
            *(result[who][name] for name in names for who in ("quantplay", "llama_perplexity")),
            result["share_of_tolerance"],
        ]
        for result in results
    ]
    print_table(header, rows)


if __name__ == "__main__":
    sys.exit(main())
