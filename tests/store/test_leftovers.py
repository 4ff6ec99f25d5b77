"""What a scan or a mix keeps against a kill is removed once its result is recorded, and not before."""

from __future__ import annotations

from pathlib import Path

import pytest
import store_samples as samples

from quantplay.digest import digest_of
from quantplay.store.registry import Store
from tasks import mixed_precision
from tasks.leftovers import remove_recorded


def test_finished_ones_go_and_unfinished_ones_stay(store: Store, tmp_path: Path) -> None:
    (
        done,
        open_,
    ) = digest_of("done"), digest_of("open")
    scans, mixes = tmp_path / "scans", tmp_path / "mixes"
    for key in (done, open_):
        (mixes / key / "deep").mkdir(parents=True)
        scans.mkdir(exist_ok=True)
        for name in (f"{key}.jsonl", f"{key}.0123456789abcdef.importance"):
            (scans / name).write_text("x")
    (scans / "notes.txt").write_text("somebody's own")
    store.put_sensitivity(done, samples.sensitivity())
    remove_recorded(scans, store.get_sensitivity)
    remove_recorded(mixes, store.get_mix)
    assert {path.name.partition(".")[0] for path in scans.iterdir()} == {open_, "notes"}
    assert {path.name for path in mixes.iterdir()} == {done, open_}, "a mix is another play"
    remove_recorded(tmp_path / "nothing", store.get_mix)


def test_a_scan_that_another_machine_put_together_is_swept(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from types import SimpleNamespace

    bench = SimpleNamespace(store=store, settings=SimpleNamespace(home=tmp_path))
    monkeypatch.setattr(mixed_precision, "workbench", lambda: bench)
    journal = mixed_precision.journal(digest_of("scan"))
    journal.write_text("measured\n")
    mixed_precision.sweep()
    assert journal.exists()
    store.put_sensitivity(digest_of("scan"), samples.sensitivity())
    mixed_precision.sweep()
    assert not journal.exists()
