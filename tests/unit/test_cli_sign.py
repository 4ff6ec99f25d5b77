"""`quantplay sign` asked in ways that make no sense: told at once, before any service is started."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


def sign(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("QUANTPLAY_", "PREFECT_"))}
    return subprocess.run(
        [sys.executable, "-m", "quantplay.cli", "sign", *arguments], capture_output=True, text=True, timeout=120,
        env={**inherited, "QUANTPLAY_HOME": str(home)}, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("run", "--role", "product_owner"), "who signs as what, and yes or no?"),
        (("run", "--approve"), "who signs as what, and yes or no?"),
        (("run", "--role", "boss", "--approve"), "there is no such role"),
        (("run", "--role", "product_owner", "--approve", "--reject"), "one of --approve, --reject and --rework"),
        (("run", "--text", "text"), "--text and --signature go together"),
        (("run", "--text", "text", "--signature", "text.sig", "--approve"), "go together, and alone"),
        ((), "RUN"),
    ],
)
def test_wrong_usage_starts_nothing(tmp_path: Path, arguments: tuple[str, ...], expected: str) -> None:
    done = sign(tmp_path, *arguments)
    assert done.returncode == 2
    assert expected in " ".join(done.stderr.split())
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_the_same_as_json(tmp_path: Path) -> None:
    done = sign(tmp_path, "run", "--role", "boss", "--approve", "--json")
    answer = json.loads(done.stdout)
    assert (answer["exit_code"], answer["error"]["value"]) == (2, "boss")
    assert "product_owner" in answer["error"]["allowed"]
