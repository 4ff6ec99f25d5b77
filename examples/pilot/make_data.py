"""Write every data file of the pilot from fixed seeds: `python examples/pilot/make_data.py`.

evaluation/dev.jsonl, gate.jsonl   the two splits of the frozen evaluation set
calibration/traffic.jsonl          256 conversations the desk had (same generators, other seeds)
calibration/wrong-domain.jsonl     256 texts of another trade, for tests that must refuse them
traffic/sample.jsonl               what live traffic looks like, to compare a calibration set with
heldout/text.jsonl                 conversations for perplexity and KL divergence, seen by nothing else
training/train.jsonl               conversations to train a quantized model on

No prompt appears in two files.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from random import Random

from skills import SLICES, Example

HERE = Path(__file__).parent
DEV_ITEMS, GATE_ITEMS = 160, 600  # a slice
CALIBRATION_SAMPLES, TRAFFIC_SAMPLES, HELDOUT_SAMPLES = 256, 512, 96
TRAINING_SAMPLES = 5400

Row = dict[str, object]


def evaluation_split(seed: int, name: str, items: int, taken: set[str]) -> list[Row]:
    rows: list[Row] = []
    for slice_name, generator in SLICES.items():
        rng, count, document = Random(f"{seed}/{slice_name}"), 0, 0
        while count < items:
            examples = generator(rng)
            prompts = {example.prompt for example in examples}
            if prompts & taken or len(prompts) < len(examples):
                continue
            taken |= prompts
            for example in examples[: items - count]:
                rows.append(
                    {
                        "id": f"{name}-{slice_name}-{count:04d}",
                        "slice": slice_name,
                        "document": f"{name}-{slice_name}-doc-{document:04d}",
                        "prompt": example.prompt,
                        "answer": example.answer,
                        "scorer": example.scorer,
                    }
                )
                count += 1
            document += 1
    return rows


def conversations(seed: int, name: str, samples: int, taken: set[str]) -> list[Row]:
    """Conversations of one to five exchanges over mixed skills, as the desk's log keeps them."""
    rng = Random(seed)
    rows: list[Row] = []
    while len(rows) < samples:
        exchanges: list[Example] = []
        for _ in range(rng.choice((1, 1, 2, 3, 5))):
            exchanges += SLICES[rng.choice(list(SLICES))](rng)
        prompts = {example.prompt for example in exchanges}
        if prompts & taken:
            continue
        taken |= prompts
        text = "\n".join(example.text for example in exchanges)
        rows.append({"id": f"{name}-{len(rows):04d}", "text": text})
    return rows


def wrong_domain(seed: int, samples: int) -> list[Row]:
    """Recipes: fluent, varied and of no use to a support desk."""
    rng = Random(seed)
    verbs = ["Chop", "Fold", "Whisk", "Simmer", "Roast", "Season", "Knead", "Glaze", "Drain", "Toast"]
    things = [
        "the onions",
        "two ripe tomatoes",
        "a cup of flour",
        "fresh basil",
        "the pastry",
        "cold butter",
        "a pinch of salt",
        "leeks",
    ]
    hows = [
        "until golden",
        "over a low flame",
        "for ten minutes",
        "with a wooden spoon",
        "before serving",
        "in a heavy pan",
    ]
    rows: list[Row] = []
    for index in range(samples):
        steps = [f"{rng.choice(verbs)} {rng.choice(things)} {rng.choice(hows)}." for _ in range(rng.randint(2, 14))]
        rows.append({"id": f"recipe-{index:04d}", "text": " ".join(steps)})
    return rows


def write(path: Path, rows: Iterable[Row]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def main(folder: Path = HERE) -> None:
    taken: set[str] = set()
    write(folder / "evaluation" / "gate.jsonl", evaluation_split(101, "gate", GATE_ITEMS, taken))
    write(folder / "evaluation" / "dev.jsonl", evaluation_split(102, "dev", DEV_ITEMS, taken))
    write(folder / "calibration" / "traffic.jsonl", conversations(103, "call", CALIBRATION_SAMPLES, taken))
    write(folder / "traffic" / "sample.jsonl", conversations(104, "live", TRAFFIC_SAMPLES, taken))
    write(folder / "heldout" / "text.jsonl", conversations(105, "text", HELDOUT_SAMPLES, taken))
    write(folder / "training" / "train.jsonl", conversations(107, "train", TRAINING_SAMPLES, taken))
    write(folder / "calibration" / "wrong-domain.jsonl", wrong_domain(106, CALIBRATION_SAMPLES))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=HERE, help="where to write (default: beside this script)")
    main(parser.parse_args().folder)
