"""The child of one arm: `python -m quantplay.harness.speed_arm PARENT`. Loads one model, then answers one line at a time.

First line: the load, a JSON object. Then `"turn"` runs one turn, `"memory"` says what the process has needed. It ends when
its input ends, and dies with its parent.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from quantplay import process
from quantplay.engines.llama_cpp import LlamaModel
from quantplay.harness.speed_load import fill, measure_turn


def main(parent: int) -> None:
    process.die_with(parent)
    try:
        serve(json.loads(sys.stdin.readline()))
    except Exception as error:  # noqa: BLE001 - the parent raises it again
        answer({"error": process.describe(error)})


def serve(load: dict[str, Any]) -> None:
    model_file, context_tokens = Path(load["model"]), load["context_tokens"]
    with LlamaModel(
        model_file, threads=load["threads"], context_tokens=context_tokens, sequences=load["batch"]
    ) as model:
        prompt = fill(model, load["text"], context_tokens)
        answer({})
        for line in sys.stdin:
            if json.loads(line) == "turn":
                answer(asdict(measure_turn(model, prompt)))
            else:
                answer(memory(model))


def memory(model: LlamaModel) -> dict[str, int]:
    return {
        "weights_bytes": model.weights_bytes,
        "cache_bytes": model.cache_bytes,
        "peak_resident_bytes": process.peak_resident_bytes(),
    }


def answer(message: dict[str, Any]) -> None:
    print(json.dumps(message), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
