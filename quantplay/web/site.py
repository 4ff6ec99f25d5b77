"""What pages are drawn from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from quantplay.store.registry import Store
from quantplay.web.login import LogIn
from quantplay.web.signing import Resume


@dataclass(frozen=True, kw_only=True)
class Site:
    """The parts that pages need."""

    open: Callable[[], Store]  # the product database; raises each time it can't be had
    owners: Path  # owners file: whose signatures count
    reports: Path  # folder of the reports of runs that are not locked yet
    login: LogIn | None = None  # None: everybody reads, nobody signs
    resume: Resume | None = None  # None: runs that wait in Prefect are not resumed from here
