"""Evaluation, calibration and held-out sets, task files and model folders: read strictly, checked whole, digested.

Every reader lists all faults of its file at once in one InputError and raises nothing else. Nothing here imports torch,
transformers or lm-eval, so a plan can be checked in a second. The formats: docs/evaluation-sets.md.
"""

from quantplay.evalset.finite import require_finite_weights
from quantplay.evalset.items import SCORER_NAMES, EvalItem, read_item_files, read_items
from quantplay.evalset.manifests import manifest_of_files
from quantplay.evalset.model_config import vocabulary_size
from quantplay.evalset.models import manifest_of_model, model_files
from quantplay.evalset.sources import resolve_model
from quantplay.evalset.taskfiles import TaskFile, read_task_file
from quantplay.evalset.texts import TextSample, read_texts

__all__ = [
    "SCORER_NAMES",
    "EvalItem",
    "TaskFile",
    "TextSample",
    "manifest_of_files",
    "manifest_of_model",
    "model_files",
    "read_item_files",
    "read_items",
    "read_task_file",
    "read_texts",
    "require_finite_weights",
    "resolve_model",
    "vocabulary_size",
]
