"""The files of a package by name, and how its JSON is written."""

from __future__ import annotations

import json
from typing import Any

SCHEMA = 1
"""Version of the package's layout; `quantplay verify` refuses a newer one than it knows."""

README = "README.md"
PLAN_TEXT = "plan.yaml"
PLAN = "plan.json"
INPUTS = "inputs.json"
CALIBRATION = "calibration.json"
BASELINE = "baseline.json"
ENVELOPE = "envelope.json"
RECIPE = "recipe.json"
ARTIFACT = "artifact.json"
ARTIFACT_FOLDER = "artifact"
ITEMS = "items.parquet"
EVALUATION = "evaluation.json"
DECISION = "decision.json"
ATTEMPTS = "attempts.json"
ENVIRONMENT = "environment.txt"
UPDATE = "update.json"
SENSITIVITY = "sensitivity.json"
MIX = "mix.json"
TRAINING = "training.json"
CARD = "MODEL_CARD.md"
REPORT = "report.html"
RUN = "run.json"
SOURCES = "sources"
TRAINED = "trained/model.safetensors"
"""Below the sources: the master weights a trained artifact is rounded from."""
MANIFEST = "manifest.json"
SIGNATURES = "signatures"

CHECKS_CALIBRATION = "checks_calibration"
"""Key of run.json: whether the run checked its calibration set, so that calibration.json has to be there."""

PURPOSE: dict[str, str] = {
    REPORT: "the result for reading, in a browser, offline",
    CARD: "model card, in the form model hubs use",
    PLAN_TEXT: "what the team wrote down before any result: model, data, envelope, gate, owners",
    PLAN: "the same, as the program read it",
    INPUTS: "every file the run read, with size and SHA-256",
    CALIBRATION: "what the calibration set is like, and the defects the plan accepts",
    BASELINE: "play 1: full precision, without the single items; small enough for version control",
    ENVELOPE: "play 2: what will run where, and what else was considered",
    RECIPE: "play 3: everything needed to make the artifact again",
    ARTIFACT: "play 3: what came out, tensor by tensor",
    f"{ARTIFACT_FOLDER}/": "the file that is served",
    EVALUATION: "play 4: the candidate through the identical harness, without the single items",
    ITEMS: "plays 1 and 4: every item, every arm: question, expected answer, answer, score",
    DECISION: "play 4: the verdict of the frozen gate, with the numbers behind it",
    ATTEMPTS: "every look at the gate split, the rejected ones too",
    SENSITIVITY: "play 5: what each group of tensors loses as each type; only where it was tried",
    MIX: "play 5: the mixes that were made and measured, and the chosen one; likewise",
    TRAINING: "play 6: how the training went, and which step was chosen; only where it was tried",
    UPDATE: "the locked run that this one updates, and its numbers; only in an update",
    ENVIRONMENT: "every installed Python distribution with its version",
    RUN: "the run's id, its times and the program's version",
    f"{SOURCES}/": "the full-precision model and the data sets, and the trained weights of a trained artifact, where the model is at most 64 MiB",
    MANIFEST: "every file above with size and SHA-256",
}
"""What each file is for, in the order of reading."""

SOMETIMES = frozenset({CALIBRATION, UPDATE, SENSITIVITY, MIX, TRAINING})
"""Files that only the packages have to which they apply."""


def json_bytes(value: Any) -> bytes:
    """Indented JSON with sorted keys and a final newline: readable, and equal for equal values."""
    return (json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()
