"""Weight bytes that `quantplay plan` tells from a config.json alone, against quantized files people have released.

Models from 0.5 to 70 billion parameters, two of them mixtures of experts; published_sizes.json holds every number with its
source. Sizes that are published of whole files are compared with the file, others with the tensors. Promised: within 3 %. Run: `python -m benchmarks.published_sizes`
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.report import at_least, at_most, finish, print_table
from quantplay.envelope.choose import uses_importance
from quantplay.envelope.memory import estimate
from quantplay.envelope.shape import ModelShape, read_shape
from quantplay.formats import TYPES

PUBLISHED = Path(__file__).with_suffix(".json")
ERROR = 3.0  # percent
PARAMETERS_ERROR = 0.2  # percent, published with two decimals; a wrong number in a configuration shows here first


def main() -> int:
    rows, errors, miscounted = [], [], []
    models = json.loads(PUBLISHED.read_text(encoding="utf-8"))["models"]
    for model in models:
        shape = shape_of(model["config"])
        if "parameters" in model:
            miscounted.append(100 * abs(shape.weights / model["parameters"] - 1))
        for file in model["files"]:
            predicted, error = compare(shape, file)
            errors.append(abs(error))
            rows.append((model["name"], file["type"], file["of"], gb(file["bytes"]), gb(predicted), f"{error:+.2f} %"))
    print_table(("model", "type", "of", "published, GB", "predicted, GB", "error"), rows)
    figures = {
        "models": len(models), "files": len(rows), "largest_error_percent": round(max(errors), 3),
        "mean_error_percent": round(sum(errors) / len(errors), 3),
    }  # fmt: skip
    goals = {
        "models": at_least(len(models), 10),
        "largest_error": at_most(max(errors), ERROR, "%"),
        "largest_error_of_parameters": at_most(max(miscounted), PARAMETERS_ERROR, "%"),
    }
    return finish("published_sizes", figures, goals)


def shape_of(config: dict[str, Any]) -> ModelShape:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(config), encoding="utf-8")
        return read_shape(Path(folder), need_weights=False)


def compare(shape: ModelShape, file: dict[str, Any]) -> tuple[int, float]:
    """Bytes predicted, and by how many percent that is off."""
    kind = TYPES[file["type"]]
    found = estimate(
        shape, file["type"], context_tokens=512, batch=1, importance=uses_importance(kind), runtime="llama.cpp"
    )
    predicted = found.file_bytes if file["of"] == "file" else found.weights_bytes
    return predicted, 100 * (predicted / file["bytes"] - 1)


def gb(size: int) -> str:
    return f"{size / 1e9:.3f}"


if __name__ == "__main__":
    raise SystemExit(main())
