"""One platform for every test of this folder, as `quantplay up` makes it: real database, server, workers and deployments."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks.deployed_platform import DeployedPlatform, platform_up


@pytest.fixture(scope="session")
def platform() -> Iterator[DeployedPlatform]:
    with platform_up() as there:
        yield there
