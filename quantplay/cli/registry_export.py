"""`quantplay registry export --csv FILE`: every locked package as a row, for a spreadsheet or a notebook."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from quantplay.errors import InputError
from quantplay.store.catalogue import Wanted

if TYPE_CHECKING:
    import pandas as pd


def command(csv: Path) -> int:
    from quantplay.cli.console import errors_console

    table = frame()
    if str(csv) == "-":
        table.to_csv(sys.stdout, index=False)
        return 0
    if not csv.parent.is_dir():
        raise InputError("there is no such folder", value=csv.parent, fix="make it, or name another file")
    partial = csv.with_name(f".{csv.name}.partial")
    table.to_csv(partial, index=False)
    partial.replace(csv)
    errors_console().print(f"{len(table)} packages written to {csv}", markup=False)
    return 0


def frame() -> pd.DataFrame:
    """The registry of the settings as a data frame: `from quantplay.cli.registry_export import frame`. Columns: docs/registry.md."""
    from quantplay.cli.packages import listed
    from quantplay.plays.catalogue import data_frame
    from quantplay.settings import settings
    from quantplay.store.registry import open_store

    here = settings()
    with open_store(here) as store:
        return data_frame(listed(store, here.threads, Wanted()))
