"""`quantplay artifacts list` and `prune`: what lies there, why it stays, what could go and what that frees."""

from __future__ import annotations

import getpass
import json as json_library
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from quantplay.settings import Settings
    from quantplay.store.home_folders import HomeFolder
    from quantplay.store.registry import Store

PRUNING, PRUNED = "artifacts.pruning", "artifacts.pruned"  # kinds of events: before anything is removed, and after
ARTIFACTS = "artifacts"


@dataclass(frozen=True, kw_only=True)
class Lying:
    """One file of the artifact store, or a folder below the home."""

    kind: str  # artifacts | plans | inputs | scratch
    name: str  # digest, or the folder's name
    size_bytes: int
    modified: datetime  # UTC
    why: tuple[str, ...]  # it stays; empty: nothing needs it
    folder: HomeFolder | None = None

    def may_go(self, before: datetime) -> bool:
        return not self.why and self.modified < before


def command(prune: bool = False, older_than: int = 30, dry_run: bool = False, json: bool = False) -> int:
    from quantplay.settings import settings
    from quantplay.store.registry import open_store

    here, before = settings(), datetime.now(UTC) - timedelta(days=older_than)
    with open_store(here) as store:
        found = lying(store, here)
        going = [one for one in found if one.may_go(before)]
        removed = removal(store, here, going, before, older_than) if prune and not dry_run else None
    if json:
        shown = found if not prune else going if removed is None else removed
        print(json_library.dumps(body_of(shown, before, removed is not None), indent=2))
    else:
        show(found if not prune else going, removed, before, older_than)
    return 0


def lying(store: Store, here: Settings) -> tuple[Lying, ...]:
    """Everything there is, with why it stays."""
    from quantplay.store.home_folders import home_folders

    kept = store.kept_files()
    files = [
        Lying(
            kind=ARTIFACTS,
            name=one.sha256,
            size_bytes=one.size_bytes,
            modified=one.modified,
            why=kept.get(one.sha256, ()),
        )
        for one in store.artifacts.listing()
    ]
    folders = [
        Lying(
            kind=one.kind, name=one.path.name, size_bytes=one.size_bytes, modified=one.modified,
            why=() if one.why is None else (one.why,), folder=one,
        )
        for one in home_folders(store, here.home)
    ]  # fmt: skip
    return (*files, *folders)


def removal(store: Store, here: Settings, going: Sequence[Lying], before: datetime, days: int) -> list[Lying]:
    """Remove what may go, each looked at again; what was removed. Two events say what was meant and what was done."""
    from quantplay.store.home_folders import remove_folder

    if not going:
        return []
    actor, removed = getpass.getuser(), list[Lying]()
    meant = {"older_than_days": days, "files": len(going), "size_bytes": sum(one.size_bytes for one in going)}
    store.append_event(actor, PRUNING, "artifacts", meant)
    try:
        for one in sorted(going, key=lambda one: one.folder is None):  # folders hold second names of files
            stays = remove_folder(one.folder, store, here.home) if one.folder else store.remove_file(one.name, before)
            if not stays:
                removed.append(one)
    finally:
        names = [f"{one.kind}/{one.name}" for one in removed]
        store.append_event(
            actor, PRUNED, "artifacts", {"removed": names, "size_bytes": sum(one.size_bytes for one in removed)}
        )
    return removed


def body_of(shown: Sequence[Lying], before: datetime, removed: bool) -> dict[str, object]:
    return {
        "removed": removed,
        "size_bytes": sum(one.size_bytes for one in shown),
        "may_go_bytes": sum(one.size_bytes for one in shown if one.may_go(before)),
        "entries": [
            {
                "kind": one.kind, "name": one.name, "size_bytes": one.size_bytes, "modified": one.modified.isoformat(timespec="seconds"),
                "kept_by": list(one.why), "may_go": one.may_go(before),
            }
            for one in shown
        ],
    }  # fmt: skip


def show(shown: Sequence[Lying], removed: Sequence[Lying] | None, before: datetime, days: int) -> None:
    from rich.text import Text

    from quantplay.cli.console import console
    from quantplay.cli.render import mib, table_of

    def fate(one: Lying) -> Text:
        if one.why:
            return Text("; ".join(one.why))
        if removed is not None:
            return Text("removed" if one in removed else "needed again meanwhile: it stays")
        return Text("may go", style="yellow") if one.may_go(before) else Text(f"nothing, but younger than {days} days")

    rows = [
        [one.kind, Text(one.name[:12]), mib(one.size_bytes), f"{one.modified:%Y-%m-%d}", fate(one)]
        for one in sorted(shown, key=lambda one: (one.kind, -one.size_bytes, one.name))
    ]
    columns = [("where", "left"), ("name", "left"), ("size", "right"), ("last used", "left"), ("what keeps it", "text")]
    if rows:
        console().print(table_of("Stored files and folders", columns, rows))
    if removed is not None:
        print(f"removed {len(removed)}: {mib(sum(one.size_bytes for one in removed))}")
        return
    going = [one for one in shown if one.may_go(before)]
    print(f"older than {days} days and needed by nothing: {len(going)}, {mib(sum(one.size_bytes for one in going))}")
