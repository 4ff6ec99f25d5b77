"""What makes two evaluations comparable: the digest of the harness. Light: imports neither lm-eval nor a runtime."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import quantplay
from quantplay.digest import digest_of, digest_of_file
from quantplay.plan import Decoding

# Every file of ours that stands between an item and its score; a test holds this against the imports.
SOURCES = (
    "evalset/*.py",
    "engines/gguf_header.py",
    "engines/llama_answers.py",
    "engines/llama_batch.py",
    "engines/llama_cpp.py",
    "engines/llama_even.py",
    "engines/llama_score.py",
    "engines/logits.py",
    "engines/model_file.py",
    "engines/tarball.py",
    "engines/transformers_model.py",
    "engines/whole_file.py",
    "harness/asked.py",
    "harness/identity.py",
    "harness/limits.py",
    "harness/lm_llama.py",
    "harness/lm_server.py",
    "harness/lm_transformers.py",
    "harness/quality.py",
    "harness/scorers.py",
    "harness/served.py",
    "harness/server.py",
    "harness/server_command.py",
    "harness/task_files.py",
    "harness/tasks.py",
    "process.py",
)


@cache
def source_digests() -> dict[str, str]:
    """Path inside the package -> digest, of every file in SOURCES."""
    root = Path(quantplay.__file__).parent
    return {
        path.relative_to(root).as_posix(): digest_of_file(path)
        for pattern in SOURCES
        for path in sorted(root.glob(pattern))
    }


def harness_digest(evaluation: str, decoding: Decoding, settings: Mapping[str, Any] | None = None) -> str:
    """Digest of all that decides a score beside the model and the machine.

    `evaluation` is the content digest of the evaluation manifest (items and task files), `settings` whatever else the
    caller keeps equal for both arms, JSON-safe (context_tokens, say).
    """
    return digest_of(
        {
            "sources": source_digests(),
            "lm_eval": version("lm-eval"),
            "evaluation": evaluation,
            "decoding": decoding.body(),
            "settings": dict(settings or {}),
        }
    )
