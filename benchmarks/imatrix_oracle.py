"""Does our importance matrix agree with llama.cpp's own tool? `python -m benchmarks.imatrix_oracle [--quick]`

quantplay's torch hooks on the source model beside llama-imatrix on the converted file, over the same tokens: the tool joins
all text, cuts it into chunks of the context, puts the begin-of-text token in the first place of each, starts each from an
empty cache, leaves the rest of the text out, and leaves out the output matrix. It gets a float32 cache here.
Promise: for every tensor a correlation of the column means above 0.9999. A correlation hardly sees small columns beside an
outlier, so the largest relative difference of any single column is held to 0.1 % as well. Then both matrices
go through the quantizer, and the blocks that come out different are counted; and with the tool's matrix, our call of the quantizer
must write exactly what llama-quantize writes. `--quick`: fewer chunks and types, one thread.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.llama_tools import build, run
from benchmarks.models import PILOT, save_random_model
from benchmarks.report import at_least, at_most, finish, print_table, quick_asked
from quantplay.engines.converter import convert, ensure_converter
from quantplay.engines.llama_cpp import LlamaModel
from quantplay.engines.llama_quantize import quantize_file
from quantplay.evalset import read_texts
from quantplay.formats import TYPES
from quantplay.quantizers.importance import calibration_texts, importance_of_tokens, measure_importance
from quantplay.settings import settings

CALIBRATION = PILOT / "calibration" / "traffic.jsonl"
CHUNK_TOKENS = 256
THREAD_TEXTS = 64
QUICK_CHUNKS = 8
MORE_THREADS = (2, 4)
DIFFERENT = "tensors_different_on_{}_threads"  # than on one
TYPE_NAMES = ("Q4_K_M", "Q2_K", "IQ4_XS", "Q3_K_M", "IQ3_XXS")

Matrix = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Blocks:
    """How two quantized files differ."""

    tensors: int
    tensors_different: int
    blocks: int  # of all quantized tensors
    blocks_different: int
    share_of_error: (
        float  # distance of the two files' weights from each other over that of the first from full precision
    )


def main() -> int:
    quick = quick_asked()
    programs = {tool: build(tool, settings().cache) for tool in ("imatrix", "quantize")}
    text = "\n".join(sample.text for sample in read_texts(CALIBRATION))
    types = TYPE_NAMES[:1] if quick else TYPE_NAMES
    models = {}
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for name, model in {"pilot": PILOT / "model", "outliers": save_random_model(work / "random")}.items():
            place = work / name
            place.mkdir()
            models[name] = compare(model, text, place, programs, QUICK_CHUNKS if quick else None, types)
    show(models)
    results = list(models.values())
    goals = {
        "smallest_correlation": at_least(min(one["smallest_correlation"] for one in results), 0.9999),
        "largest_relative_difference": at_most(max(one["largest_relative_difference"] for one in results), 1e-3),
        "tokens_counted_differently": at_most(max(one["tokens_counted_differently"] for one in results), 0),
        "blocks_unlike_llama_quantize": at_most(sum(one["blocks_unlike_llama_quantize"] for one in results), 0),
    }
    return finish("imatrix_oracle", {"chunk_tokens": CHUNK_TOKENS, "models": models}, goals)


def compare(
    model: Path, text: str, work: Path, programs: Mapping[str, Path], limit: int | None, types: Sequence[str]
) -> dict[str, Any]:
    """All figures of one model folder over the first `limit` chunks of `text`."""
    reference = work / "reference.gguf"
    convert(ensure_converter(settings().cache), model, reference)
    chunks = tool_chunks(reference, text)[:limit]
    ours = importance_of_tokens(model, chunks, threads=1)
    theirs, counts = tool_matrix(programs["imatrix"], reference, text, work, len(chunks))
    assert theirs.keys() == ours.values.keys(), theirs.keys() ^ ours.values.keys()
    relative = {name: np.abs(ours.values[name] / values - 1).max() for name, values in theirs.items()}
    worst = max(relative, key=lambda name: relative[name])
    figures: dict[str, Any] = {
        "chunks": len(chunks),
        "tensors": len(theirs),
        "smallest_correlation": min(correlation(ours.values[name], values) for name, values in theirs.items()),
        "largest_relative_difference": float(relative[worst]),
        "largest_relative_difference_in": worst,
        "largest_to_median_column": float(max(np.max(values) / np.median(values) for values in theirs.values())),
        "tokens_counted_differently": sum(count != ours.tokens for count in counts.values()),
        **({} if limit else different_by_threads(model)),
        "quantized": {},
        "blocks_unlike_llama_quantize": 0,
    }
    for kind in types:
        either = [work / f"{kind}-{number}.gguf" for number in range(2)]
        for path, matrix in zip(either, (ours.values, theirs), strict=True):
            quantize_file(reference, path, ftype=ftype(kind), threads=1, importance=matrix)
        by_tool = work / f"{kind}-tool.gguf"
        command = ["--imatrix", str(work / "imatrix.gguf"), str(reference), str(by_tool), kind, "1"]
        run([str(programs["quantize"]), *command])
        figures["quantized"][kind] = vars(different_blocks(either[0], either[1], reference))
        figures["blocks_unlike_llama_quantize"] += different_blocks(either[1], by_tool, reference).blocks_different
    return figures


def different_by_threads(model: Path) -> dict[str, int]:
    """Tensors of the matrix whose bytes on more threads are not those on one, over calibration texts of all lengths."""
    texts = calibration_texts(CALIBRATION, THREAD_TEXTS)
    found = {
        threads: measure_importance(model, texts, tokens=CHUNK_TOKENS, threads=threads).values
        for threads in (1, *MORE_THREADS)
    }
    return {
        DIFFERENT.format(threads): sum(
            not np.array_equal(values, found[threads][name]) for name, values in found[1].items()
        )
        for threads in MORE_THREADS
    }


def tool_chunks(reference: Path, text: str) -> list[list[int]]:
    """The token sequences that llama-imatrix runs through the model."""
    with LlamaModel(reference, threads=1, context_tokens=CHUNK_TOKENS) as model:
        tokens, begin = model.tokenize(text), model.begin_token
    whole = [tokens[start : start + CHUNK_TOKENS] for start in range(0, len(tokens), CHUNK_TOKENS)]
    return [
        chunk if begin is None else [begin, *chunk[1:]] for chunk in whole if len(chunk) == CHUNK_TOKENS
    ]  # fmt: skip


def tool_matrix(
    program: Path, reference: Path, text: str, work: Path, chunks: int
) -> tuple[dict[str, np.ndarray], dict[str, int]]:
    """Tensor name -> mean of squared inputs, and -> tokens it saw, as llama-imatrix measures them."""
    import gguf

    source, out = work / "text.txt", work / "imatrix.gguf"
    source.write_text(text, encoding="utf-8")
    size = ["-c", str(CHUNK_TOKENS), "-b", str(CHUNK_TOKENS), "--chunks", str(chunks), "-t", "1", "-ct", "f32"]
    run([str(program), "-m", str(reference), "-f", str(source), "-o", str(out), *size])
    stored = {tensor.name: np.array(tensor.data, np.float32).reshape(-1) for tensor in gguf.GGUFReader(out).tensors}
    counts = {name.removesuffix(".counts"): int(value[0]) for name, value in stored.items() if name.endswith(".counts")}
    # divided in float32, as llama-quantize does
    return {name: stored[f"{name}.in_sum2"] / np.float32(count) for name, count in counts.items()}, counts


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.astype(np.float64), b.astype(np.float64))[0, 1])


def different_blocks(first: Path, second: Path, reference: Path) -> Blocks:
    """Compare two quantized files of `reference` block by block of their types, and by the weights they stand for."""
    import gguf
    from gguf.quants import dequantize

    files = [gguf.GGUFReader(path).tensors for path in (first, second, reference)]
    tensors, others, originals = ({tensor.name: tensor for tensor in file} for file in files)
    assert tensors.keys() == others.keys() == originals.keys()
    different = blocks = changed = 0
    distance = error = 0.0
    for name, tensor in tensors.items():
        kind = tensor.tensor_type
        assert kind == others[name].tensor_type, name
        size = gguf.GGML_QUANT_SIZES[kind][1]
        a, b = (np.ascontiguousarray(one.data).view(np.uint8).reshape(-1, size) for one in (tensor, others[name]))
        unlike = int((a != b).any(axis=1).sum())
        different, blocks, changed = different + (unlike > 0), blocks + len(a), changed + unlike
        weights = dequantize(tensor.data, kind)
        distance += float(np.square(weights - dequantize(others[name].data, kind)).sum())
        error += float(np.square(weights - originals[name].data).sum())
    return Blocks(len(tensors), different, blocks, changed, (distance / error) ** 0.5)


def ftype(kind: str) -> int:
    number = TYPES[kind].ftype
    assert number is not None
    return number


def show(models: Mapping[str, dict[str, Any]]) -> None:
    """One table of the matrices, one of the files made with them."""
    names = {
        "chunks": "chunks", "tensors": "tensors", "smallest_correlation": "smallest correlation",
        "largest_relative_difference": "largest relative difference", "largest_to_median_column": "largest to median column",
        **{DIFFERENT.format(threads): f"tensors different on {threads} threads" for threads in MORE_THREADS},
    }  # fmt: skip
    rows = [
        [title, *(one[name] for one in models.values())] for name, title in names.items() if name in models["pilot"]
    ]
    print_table(["importance matrix, ours against the tool's", *models], rows)
    print()
    header = ["quantized with ours and with the tool's", "tensors", "differ", "blocks", "differ", "share of the error"]
    print_table(
        header, [[f"{name} {kind}", *counts.values()] for name, one in models.items() for kind, counts in one["quantized"].items()]
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
