"""What all folders share: where tests run in several processes, the whole runs of a folder stay in one."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

import pytest

TOGETHER = {"flows", "e2e"}
"""Folders whose tests share a running platform or home: one process has all of a folder, one after the other."""


@pytest.hookimpl(optionalhook=True)  # of pytest-xdist, whose own groups pytest 9.2 does not tell it
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from xdist.scheduler import LoadScopeScheduling

    class ByFolder(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            folder = PurePosixPath(nodeid.partition("::")[0]).parent.name
            return folder if folder in TOGETHER else nodeid

    return ByFolder(config, log)
