"""A small plan with its data and a toy model, for tests that break one thing at a time."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from random import Random

SLICES = ("reasoning", "output_format")
ITEMS = 30  # a slice, in the gate split; 8 in the dev split

PLAN = """\
schema: 1
name: sample
use_case: Answers questions in a test.
trade_off: Smaller for a little worse.
profile: internal
seed: 3
model:
  source: model
calibration:
  file: calibration.jsonl
  samples: 128
  tokens: 64
evaluation:
  gate: gate.jsonl
  dev: dev.jsonl
  heldout: heldout.jsonl
  slices:
    reasoning:
      title: Thinks
      fragile: true
    output_format:
      title: Formats
decoding:
  max_tokens: 16
  stop: ["\\n"]
envelope:
  runtime: llama.cpp
  device: cpu
  bottleneck: memory
  types: [Q4_K_M, Q5_K_M]
  context_tokens: 128
  batch: 2
gate:
  attempts: 1
  expected_flip_rate: 0.05
  slices:
    reasoning: {max_drop: 20.0, broken_drop: 40.0}
    output_format: {max_drop: 20.0, broken_drop: 40.0}
  hardest:
    share: 0.5
    max_drop: 40.0
    broken_drop: 60.0
    max_loss_rise: 0.1
    broken_loss_rise: 0.2
owners:
  ml_engineer: ada
  product_owner: grace
deviations:
  - rule: envelope.target_chip
    reason: the layers are narrow
"""


def line_of(fragment: str, text: str = PLAN) -> int:
    """1-based line of the only line that holds `fragment`."""
    found = [number for number, line in enumerate(text.splitlines(), start=1) if fragment in line]
    assert len(found) == 1, (fragment, found)
    return found[0]


def edited(old: str, new: str, text: str = PLAN) -> str:
    """`text` with its only `old` replaced."""
    assert text.count(old) == 1, (old, text.count(old))
    return text.replace(old, new)


def write_jsonl(path: Path, rows: list[dict[str, object]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def items(split: str, count: int) -> list[dict[str, object]]:
    return [
        {
            "id": f"{split}-{name}-{number}", "slice": name, "document": f"{split}-{name}-{number}",
            "prompt": f"what is {number} plus one in {name} of {split}?", "answer": str(number + 1), "scorer": "exact",
        }
        for name in SLICES
        for number in range(count)
    ]  # fmt: skip


def calibration_texts() -> list[dict[str, object]]:
    """130 texts without a defect: of 3 to 20 words, each from many words."""
    dice = Random(2)
    words = [
        first + last
        for first in ("sun", "riv", "mor", "tel", "cab", "lun", "pes")
        for last in ("na", "to", "ri", "xe", "ul")
    ]
    return [{"id": f"c-{n}", "text": " ".join(dice.choices(words, k=dice.randint(3, 20)))} for n in range(130)]


def write_sample(folder: Path, text: str = PLAN) -> Path:
    """Plan, sets and model in `folder`; path of the plan."""
    folder.mkdir(parents=True, exist_ok=True)
    write_jsonl(folder / "gate.jsonl", items("gate", ITEMS))
    write_jsonl(folder / "dev.jsonl", items("dev", 8))
    write_jsonl(folder / "calibration.jsonl", calibration_texts())
    write_jsonl(folder / "heldout.jsonl", [{"id": f"h-{n}", "text": f"another talk, of number {n}"} for n in range(4)])
    write_model(folder / "model")
    path = folder / "plan.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def write_model(folder: Path) -> None:
    """A folder that looks like a model: one tensor, and a tokenizer in which every character is a token."""
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "llama"}')
    header = json.dumps({"weight": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(8))
    characters = {chr(code): code - 32 for code in range(32, 127)}
    tokenizer = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
        "pre_tokenizer": None, "post_processor": None, "decoder": None,
        "model": {
            "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "vocab": characters, "merges": [],
        },
    }  # fmt: skip
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
