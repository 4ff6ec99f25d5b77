"""`quantplay registry ...` on a real database: what a person reads, and what a program gets."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pandas as pd
import pytest
from locked_models import lock_model

from quantplay.audit import find
from quantplay.cli.registry_export import frame
from quantplay.cli.release import folder_of
from quantplay.plays.catalogue import COLUMNS
from quantplay.store.registry import Store

Ask = Callable[..., str]


def test_an_empty_registry_says_what_fills_it(ask: Ask) -> None:
    assert ask("packages").startswith("No package is locked yet.")
    assert json.loads(ask("packages", json=True)) == {"packages": [], "more": False, "imports": []}
    assert "No package has a name yet" in ask("alias", list_all=True)
    assert ask("registry_export", csv=Path("-")).strip() == ",".join(COLUMNS)


def test_list_find_and_their_filters(ask: Ask, store: Store) -> None:
    desk, chat = lock_model(store, "desk"), lock_model(store, "chat", kind="Q8_0", plan={"use_case": "Small talk"})
    table = ask("packages")
    assert desk[:12] in table
    assert chat[:12] in table
    assert "8,192.0 MiB" in table
    (found,) = json.loads(ask("packages", json=True, looking=True, text="talk"))["packages"]
    assert (found["package"], found["type"], found["status"], found["worst_slice"]) == (
        chat,
        "Q8_0",
        "confirmed",
        "slice-0",
    )
    assert [one["package"] for one in json.loads(ask("packages", json=True, bits=4))["packages"]] == [desk]
    assert json.loads(ask("packages", json=True, state="stale"))["packages"] == []
    assert "No locked package is like this." in ask("packages", type="Q2_K")
    assert "confirmed, stale, regressed" in ask("packages", code=2, state="good")
    assert "nothing to look for" in ask("packages", code=2, looking=True)


def test_the_newest_are_shown_and_that_there_are_more(ask: Ask, store: Store) -> None:
    lock_model(store, "first")
    newest = lock_model(store, "second")
    table = ask("packages", limit=1)
    assert newest[:12] in table
    assert "there are more" in table
    body = json.loads(ask("packages", json=True, limit=1, state="confirmed"))
    assert ([one["package"] for one in body["packages"]], body["more"]) == ([newest], True)
    assert "there are more" not in ask("packages", limit=2)


def test_one_package_in_full(ask: Ask, store: Store) -> None:
    key = lock_model(store, "desk", drop=1.25)
    store.set_alias("desk/production", key, actor="ann", reason="first")
    page = ask("registry_show", package="desk/production")
    for part in (key[:12], "answers tickets", "Q4_K_M", "+1.2", "desk/production", "manifest"):
        assert part in page
    assert page.splitlines()[-1] == f"package: /p/desk-{key[:12]}"
    body = json.loads(ask("registry_show", package=key[:9], json=True))
    assert body["package"] == key
    assert body["decision"]["verdict"] == "pass"
    assert {"plan", "model", "ptq", "evaluate", "gate", "lock", "file", "manifest"} <= {
        one["what"] for one in body["lineage"]
    }
    assert [one["name"] for one in body["alias_history"]] == ["desk/production"]
    assert "no locked package has this key" in ask("registry_show", code=2, package="ffff")


@pytest.mark.parametrize("written", ["desk-{}", "/p/desk-{}", "/p/desk-{}/", "{}"])
def test_a_package_is_found_by_its_folder_too(ask: Ask, store: Store, written: str) -> None:
    key = lock_model(store, "desk")
    lock_model(store, "other")
    text = written.format(key[:12])
    assert json.loads(ask("registry_show", package=text, json=True))["package"] == key
    assert find(store, text) == ("package", key)
    assert [one.key for one in store.locked_packages(text)] == [key]


def test_packages_side_by_side(ask: Ask, store: Store) -> None:
    small, large = lock_model(store, "desk", drop=1.5), lock_model(store, "desk", kind="Q8_0", drop=0.25)
    table = ask("registry_compare", packages=[small, large])
    assert "+1.5 of 2" in table
    assert "+0.2 of 2" in table
    assert "mind:" not in table
    other = lock_model(store, "chat", model="another")
    body = json.loads(ask("registry_compare", packages=[large, other], json=True))
    assert [one["package"] for one in body["packages"]] == [large, other]
    assert "different models" in body["not_comparable"][0]
    assert "2 to 8" in ask("registry_compare", code=2, packages=[small, small[:12]])


def test_names_are_set_with_a_reason_and_shown(ask: Ask, store: Store) -> None:
    first, second = lock_model(store, "desk"), lock_model(store, "desk", kind="Q8_0")
    assert "needs a reason" in ask("alias", code=2, name="desk/production", package=first)
    ask("alias", name="desk/production", package=first[:12], reason="first release")
    ask("alias", name="desk/production", package=second, reason="less fragile")
    listed = ask("alias", list_all=True)
    assert second[:12] in listed
    assert first[:12] not in listed
    past = ask("alias", name="desk/production")
    assert first[:12] in past
    assert "first release" in past
    ask("alias", name="desk/canary", package="desk/production", reason="a name of a name is its package")
    assert json.loads(ask("alias", list_all=True, json=True))["aliases"][0]["package"] == second
    assert "nothing has this name" in ask("alias", code=2, name="desk/nobody")


def test_a_release_finds_the_folder_of_a_name(ask: Ask, store: Store, tmp_path: Path) -> None:
    key = lock_model(store, "desk", folder=str(tmp_path))
    store.set_alias("desk/production", key, actor="ann", reason="first")
    assert folder_of(Path("desk/production")) == tmp_path / f"desk-{key[:12]}"
    assert folder_of(Path("desk/nobody")) == Path("desk/nobody")
    assert folder_of(tmp_path) == tmp_path


def test_the_history_of_a_model(ask: Ask, store: Store) -> None:
    key = lock_model(store, "desk")
    store.set_alias("desk/production", key, actor="ann", reason="first")
    assert [one["what"] for one in json.loads(ask("registry_history", model="desk", json=True))["history"]] == [
        "run",
        "alias",
    ]
    assert "desk/production" in ask("registry_history", model="desk")
    assert "nothing is recorded" in ask("registry_history", code=2, model="nobody")


def test_an_export_is_the_same_in_a_file_and_in_pandas(ask: Ask, store: Store, tmp_path: Path) -> None:
    key = lock_model(store, "desk", plan={"use_case": 'Says "so", and\nmore'})
    target = tmp_path / "registry.csv"
    ask("registry_export", csv=target)
    (row,) = csv.DictReader(StringIO(target.read_text(encoding="utf-8")))
    assert (row["package"], row["use_case"]) == (key, 'Says "so", and\nmore')
    assert list(tmp_path.glob(".*partial")) == []
    table = frame()
    assert list(table.columns) == list(COLUMNS)
    assert isinstance(table["locked_at"].dtype, pd.DatetimeTZDtype)
    assert table["size_bytes"].iloc[0] == int(row["size_bytes"]) == 2**33
    assert "no such folder" in ask("registry_export", code=2, csv=tmp_path / "none" / "a.csv")
