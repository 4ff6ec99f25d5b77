"""The child of one arm: `python -m quantplay.harness.speed_arm PARENT`. Loads one model, then answers one line at a time.

First line: the load, a JSON object. Then `"turn"` runs one turn, `"memory"` says what the process has needed. It ends when
its input ends, and dies with its parent.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantplay import process
from quantplay.engines.llama_cpp import LlamaModel
from quantplay.harness.speed_load import fill, measure_turn

if TYPE_CHECKING:
    from quantplay.engines.transformers_logits import FolderModel


CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}


def main(parent: int) -> None:
    process.die_with(parent)
    sys.stdout = sys.stderr  # libraries that print to it would be taken for answers
    try:
        serve(json.loads(sys.stdin.readline()))
    except Exception as error:  # noqa: BLE001 - the parent raises it again
        answer({"error": process.describe(error)})


def serve(load: dict[str, Any]) -> None:
    model_file, context_tokens = Path(load["model"]), load["context_tokens"]
    kind, turn = arm_of(load.get("runtime", "llama.cpp"))
    settings = {"cache_type": load.get("cache_type", "f16")} if kind is LlamaModel else {}
    with kind(
        model_file, threads=load["threads"], context_tokens=context_tokens, sequences=load["batch"], **settings
    ) as model:
        prompt = fill(model, load["text"], context_tokens)
        answer({})
        for line in sys.stdin:
            if json.loads(line) == "turn":
                answer(asdict(turn(model, prompt, CLOCKS[load.get("clock", "wall")])))
            else:
                answer(memory(model))


def arm_of(runtime: str) -> tuple[Any, Any]:
    """The class that loads a model for `runtime`, and what runs one turn of it."""
    if runtime == "transformers":
        from quantplay.engines.transformers_logits import FolderModel
        from quantplay.harness import speed_folder

        return FolderModel, speed_folder.measure_turn
    return LlamaModel, measure_turn


def memory(model: LlamaModel | FolderModel) -> dict[str, int]:
    return {
        "weights_bytes": model.weights_bytes,
        "cache_bytes": model.cache_bytes,
        "peak_resident_bytes": process.peak_resident_bytes(),
    }


def answer(message: dict[str, Any]) -> None:
    print(json.dumps(message), file=sys.__stdout__, flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
