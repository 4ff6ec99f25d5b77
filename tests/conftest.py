"""What all folders share: tests of one platform stay in one process, where tests run in several."""

from __future__ import annotations

import pytest

TOGETHER = {"flows", "e2e"}
"""Folders whose tests share a running platform or home: one worker has each whole, the others' tests go to whoever is free."""


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if (folder := item.path.parent.name) in TOGETHER:
            item.add_marker(pytest.mark.xdist_group(folder))
