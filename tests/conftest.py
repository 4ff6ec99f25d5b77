"""What all folders share: where tests run in several processes, what shares a platform or a home stays in one."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

import pytest

PLATFORM = "flows"
"""The folder whose tests share one running platform: one process has all of it, one test after the other."""
WHOLE_RUNS = "e2e"
"""Here a process has a home for all files it gets, and a file stays in one process."""


@pytest.hookimpl(optionalhook=True)  # of pytest-xdist, whose own groups pytest 9.2 does not tell it
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from xdist.scheduler import LoadScopeScheduling

    class ByFolder(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = PurePosixPath(nodeid.partition("::")[0])
            return {PLATFORM: PLATFORM, WHOLE_RUNS: str(file)}.get(file.parent.name, nodeid)

    return ByFolder(config, log)
