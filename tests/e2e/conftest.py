"""Whole runs through the command line: a home of their own with a real PostgreSQL, a real Prefect server, the pilot model."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.playground import Playground, make_playground


@pytest.fixture(scope="session")
def playground() -> Iterator[Playground]:
    # PostgreSQL drops root and must be able to enter the folder, which pytest's own temporary folders don't allow.
    top = Path(tempfile.mkdtemp(prefix="quantplay-e2e-"))
    top.chmod(0o755)
    here = make_playground(top)
    yield here
    here.quantplay("down")
    shutil.rmtree(top, ignore_errors=True)
