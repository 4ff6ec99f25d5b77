"""Adoption on a real database: what gateways counted, who served it, how runs went; and the command a person types."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pandas as pd
import pytest
import sqlalchemy as sa
import store_samples as samples
from browser import needs_browser, opened_browser, screenshot
from locked_models import lock_model
from test_store_revalidations import revalidation

from quantplay.adoption import MEASURED, SUBJECT, Adoption, adoption, read_source
from quantplay.adoption.page import adoption_page
from quantplay.live.release import release, roll_back
from quantplay.live.retention import tidy
from quantplay.plan import BusinessCase
from quantplay.records import FileEntry, Import, Manifest
from quantplay.records.traffic import CounterRow, PolicyRevision, ServedArm
from quantplay.settings import Settings
from quantplay.store.registry import Store, open_store

NOW = datetime.now(UTC).replace(second=0, microsecond=0)
CASE = BusinessCase.model_validate({
    "requests_per_day": 1000, "tokens_per_request": 500, "serving_cost_per_million_tokens": 2, "serving_saving_percent": 40,
    "training_cost": 900, "months": 12,
})  # fmt: skip
FULL = ServedArm(url="http://h:1/v1", model="f16", artifact="a" * 64)
SMALL = ServedArm(url="http://h:2/v1", model="q4", artifact="b" * 64)


def serve(store: Store, endpoint: str, package: str | None) -> int:
    """Release a locked package there; the revision."""
    found = store.get_package(package) if package is not None else None
    policy = PolicyRevision(
        endpoint=endpoint, package=found.manifest if found else None, salt="s", full_precision=FULL, quantized=SMALL
    )
    return release(store, policy, weight=0.5, actor="ada", reason="a test")[0]


def count(
    store: Store, endpoint: str, revision: int, days_ago: float, *, quantized: int = 0, full: int = 0, tokens: int = 0,
    other_arm: int = 0, source: int = 1,
) -> None:  # fmt: skip
    """As a gateway writes it, and once more: a minute, and the sum since its process began."""
    minute = int((NOW - timedelta(days=days_ago)).timestamp() // 60)
    told = (("quantized", "requests", quantized), ("quantized", "tokens", tokens), ("quantized", "other_arm", other_arm), ("full_precision", "requests", full))  # fmt: skip
    rows = [
        CounterRow(source=str(UUID(int=source)), endpoint=endpoint, revision=revision, minute=at, arm=arm, name=name, value=value)  # type: ignore[arg-type]
        for arm, name, value in told if value for at in (minute, 0)
    ]  # fmt: skip
    for _ in range(2):
        store.write_live(rows)


def looked(store: Store, volume: str | None = None, since: date | None = None, now: datetime = NOW) -> Adoption:
    return adoption(store, read_source(volume, since, now), now)


def decline(store: Store, name: str, reasons: tuple[str, ...]) -> None:
    source = Manifest.of("model", name, (FileEntry(path="weights", size_bytes=9, sha256=samples.digest(name)),))
    run = store.start_run(
        plan=store.put_plan(samples.plan(name)), profile="internal",
        body={"inputs": {"model": source.content}, "plan_path": "plan.yaml"},
    )  # fmt: skip
    key = samples.digest(["envelope", name])
    store.put_envelope(key, samples.envelope().model_copy(update={"wrong_moves": reasons}))
    store.record_play(run, play="envelope", key=key, reused=False, seconds=1)
    store.finish_run(run, outcome="declined", exit_code=15, left_at="envelope")


def test_an_empty_database_knows_nothing_and_says_so(store: Store) -> None:
    found = looked(store)
    assert found.is_empty
    assert found.coverage.covered is None
    assert (found.savings.since, found.timing.median_hours, found.device_hours.jobs) == (None, None, 0)


def test_what_gateways_counted_is_covered_where_it_is_validated(store: Store) -> None:
    desk = lock_model(store, "desk", plan={"business_case": CASE})
    chat = lock_model(store, "chat", model="other")
    first, second, trial = serve(store, "support", desk), serve(store, "talk", chat), serve(store, "trial", None)
    count(store, "support", first, 0, quantized=600, full=300, tokens=9000, other_arm=40)
    count(store, "support", first, 0, quantized=60, full=0, tokens=900, source=2)
    count(store, "talk", second, 0, quantized=100, full=0)
    count(store, "trial", trial, 0, quantized=10)
    worse = revalidation("regressed").model_copy(update={"package": chat})
    store.put_revalidation(worse, samples.evaluation())
    found = looked(store)
    assert found.coverage.by == {
        "validated": 620, "stale": 0, "regressed": 100, "unvalidated": 10, "full_precision": 340, "untold": 0,
    }  # fmt: skip
    assert found.coverage.covered == pytest.approx(620 / 1070)
    assert (found.coverage.requests_with_tokens, found.coverage.tokens) == (660, 9900)
    assert found.coverage.unattributed == 10
    assert [(one.name, one.places, one.requests, one.state) for one in found.models] == [
        ("desk", ("support",), 960, "validated"),
        ("chat", ("talk",), 100, "regressed"),
        ("trial", ("trial",), 10, "unvalidated"),
    ]
    assert [(one.place, one.kind, one.requests) for one in found.apart] == [
        ("talk", "regressed", 100),
        ("trial", "unvalidated", 10),
    ]
    (one,) = found.savings.packages
    assert (one.package, one.requests, one.tokens) == (desk, 620, 620 * 500)  # tokens of answers are no whole cost
    assert one.saved == pytest.approx(620 * 500 / 1e6 * 2 * 0.4)
    assert found.savings.left_out == 110
    assert any("40 conversations full precision answered" in note for note in found.notes)
    assert found.timing.locked == 2


def test_a_release_that_is_taken_back_stops_counting(store: Store) -> None:
    desk = lock_model(store, "desk", plan={"business_case": CASE})
    count(store, "support", serve(store, "support", desk), 0, quantized=500)
    assert looked(store).coverage.covered == 1
    roll_back(store, "support", actor="ada", reason="worse")
    found = looked(store)
    assert found.coverage.covered == 0
    assert [(one.kind, one.why) for one in found.apart] == [("regressed", "Its release was rolled back.")]
    assert (found.savings.packages, found.savings.left_out) == ((), 500)
    count(store, "support", serve(store, "support", desk), 0, quantized=700)  # released again, and what was stays
    assert looked(store).coverage.by["validated"] == 700


def test_a_package_nobody_measured_for_long_is_stale(store: Store) -> None:
    desk = lock_model(store, "desk", plan={"business_case": CASE})
    count(store, "support", serve(store, "support", desk), 0, quantized=500)
    later = NOW + timedelta(days=80)
    store.put_revalidation(
        revalidation(at=(NOW - timedelta(days=20)).isoformat()).model_copy(update={"package": desk}), samples.evaluation()
    )  # fmt: skip
    found = looked(store, since=NOW.date(), now=later)
    assert found.coverage.by["stale"] == 500
    assert found.models[0].state == "stale"
    assert found.savings.packages == ()


def test_days_and_hours_are_summed_alike_and_old_days_are_said_to_be_gone(store: Store) -> None:
    revision = serve(store, "support", lock_model(store, "desk"))
    told = pd.DataFrame({"ago": [0, 1.5, 3.2, 29, 31, 60], "requests": [1, 20, 300, 4000, 50_000, 600_000]})
    for number, (ago, requests) in enumerate(told.itertuples(index=False)):
        count(store, "support", revision, ago, quantized=int(requests), source=number + 1)
    days = (NOW - pd.to_timedelta(told["ago"], unit="D")).dt.date
    for since in (None, NOW.date() - timedelta(days=2), NOW.date() - timedelta(days=70)):
        begin = since or NOW.date() - timedelta(days=29)
        wanted = told.loc[days >= begin, "requests"].sum()
        assert looked(store, since=since).coverage.requests == wanted
        tidy(store, NOW)  # minutes become hours
        assert looked(store, since=since).coverage.requests == wanted
    found = looked(store, since=NOW.date() - timedelta(days=200))
    assert found.since == (NOW.date() - timedelta(days=90)).isoformat()
    assert found.notes[0].startswith("Counts by day are kept for 90 days")
    assert found.savings.packages[0].requests == told["requests"].sum()  # sums are kept for good


def test_what_was_served_before_the_lock_was_not_validated(store: Store) -> None:
    revision = serve(store, "support", lock_model(store, "desk"))
    count(store, "support", revision, 3, quantized=50)
    count(store, "support", revision, 0, quantized=10, source=2)
    assert looked(store).coverage.by == {
        "validated": 10, "stale": 0, "regressed": 0, "unvalidated": 50, "full_precision": 0, "untold": 0,
    }  # fmt: skip


def test_declined_models_count_for(store: Store, tmp_path: Path) -> None:
    lock_model(store, "desk")
    decline(store, "small", ("Already small: nothing to win.",))
    path = tmp_path / "usage.csv"
    path.write_text(f"model,day,requests\nsmall,{NOW.date()},300\ndesk,{NOW.date()},100\nbert,{NOW.date()},600\n")
    found = looked(store, str(path))
    assert [(one.name, one.state) for one in found.models] == [
        ("bert", "never"),
        ("small", "declined"),
        ("desk", "validated"),
    ]
    assert (found.coverage.covered, found.coverage.settled) == (0, 0.3)
    assert [(one.requests, one.why) for one in found.declined] == [(300, "Already small: nothing to win.")]
    assert found.coverage.unattributed == 600
    assert "serves none of this" in found.models[2].why


def test_a_file_names_packages_by_all_their_names(store: Store, tmp_path: Path) -> None:
    desk = lock_model(store, "desk")
    entry = store.package_named(desk)
    store.set_alias("desk/production", desk, actor="ada", reason="why")
    serve(store, "support", desk)
    names = (desk, desk[:12], entry.manifest, entry.sha256, "desk/production")
    lines = [f",{name},{NOW.date()},10,{name}" for name in names] + [f"support,,{NOW.date()},1000,"]
    path = tmp_path / "usage.csv"
    path.write_text("\n".join(["endpoint,model,day,requests,package", *lines]) + "\n")
    found = looked(store, str(path))
    assert sum(one.covered * one.requests for one in found.models if "support" not in one.places) == 0
    (one,) = found.models  # all of it is one model
    assert (one.name, one.requests) == ("desk", 1050)
    told = found.coverage.by
    assert told["validated"] + told["full_precision"] + told["untold"] == 1050
    assert told["validated"] >= 50  # and whatever share was in force since its release, seconds ago
    assert any("split by the share" in note for note in found.notes)


def test_what_was_quantized_elsewhere_is_never_validated(store: Store, tmp_path: Path) -> None:
    told = Import(
        sha256="c" * 64, name="theirs", base="d" * 64, base_source="org/chat", format="gguf", type="Q4_K_M", nominal_bits=4, group_size=32,
        bits_per_weight=4.8, size_bytes=9, file_name="theirs.gguf", files=(), tensors={}, full_precision=(), words={}, origin="",
        said_by="ada", at=NOW.isoformat(),
    )  # fmt: skip
    store.register_import(told)
    path = tmp_path / "usage.csv"
    path.write_text(
        f"model,day,requests,package\ntheirs,{NOW.date()},30,\nchat,{NOW.date()},50,{'c' * 12}\nbert,{NOW.date()},20,\n"
    )
    found = looked(store, str(path))
    assert (found.coverage.by["unvalidated"], found.coverage.by["untold"], found.coverage.unattributed) == (80, 20, 20)
    assert [(one.places, one.model, one.requests, one.state) for one in found.models] == [
        (("chat", "theirs"), told.base, 80, "unvalidated"), (("bert",), None, 20, "never"),
    ]  # fmt: skip


def test_days_are_utc_wherever_the_database_lives(
    store: Store, database_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    count(store, "support", serve(store, "support", lock_model(store, "desk")), 0, quantized=75)
    told = looked(store).body()
    for zone in ("Pacific/Kiritimati", "Pacific/Midway"):  # it is another day in one of them
        monkeypatch.setenv("PGTZ", zone)
        with open_store(database_settings) as elsewhere:
            with elsewhere.engine.connect() as connection:
                assert connection.scalar(sa.text("SHOW timezone")) == zone
            assert looked(elsewhere).body() == told


def test_every_number_of_queries_is_the_same_however_many_packages(store: Store) -> None:
    def queries() -> int:
        sent: list[str] = []

        def note(*arguments: object) -> None:
            sent.append(str(arguments[2]))

        sa.event.listen(store.engine, "before_cursor_execute", note)
        looked(store)
        sa.event.remove(store.engine, "before_cursor_execute", note)
        return len(sent)

    lock_model(store, "one", items=1)
    before = queries()
    for number in range(5):
        lock_model(store, f"m{number}", items=1)
    assert queries() == before


def test_weekly_looks_are_remembered_by_their_source(store: Store) -> None:
    for day, covered, source in (
        ("2026-11-01", 10, "gateway"),
        ("2026-11-08", 20, "csv"),
        ("2026-11-15", 30, "gateway"),
    ):
        body = {"day": day, "since": day, "source": source, "requests": 100, "covered": covered}
        store.append_event("quantplay", MEASURED, SUBJECT, body)
    assert [(one.day, one.covered) for one in looked(store).before] == [("2026-11-01", 0.1), ("2026-11-15", 0.3)]


# --- the command -----------------------------------------------------------------------------------------------------------


def test_the_command_says_it_in_words_in_json_and_in_a_picture(
    ask: Callable[..., str], store: Store, tmp_path: Path
) -> None:
    assert ask("adoption").startswith("Nothing was run here")
    revision = serve(store, "support", lock_model(store, "desk"))
    count(store, "support", revision, 0, quantized=75, full=25)
    assert ask("adoption").startswith("Validated quantized models served 75.0 % of 100 requests")
    body = json.loads(ask("adoption", json=True))
    assert Adoption.model_validate(body).coverage.covered == 0.75
    ask("adoption", picture=tmp_path / "adoption.svg", html=tmp_path / "adoption.html")
    assert "75.0 % covered, 100 requests" in (tmp_path / "adoption.svg").read_text()
    assert (
        "Validated quantized models served 75.0\u00a0% of 100 requests</h1>" in (tmp_path / "adoption.html").read_text()
    )


def test_the_command_refuses_what_it_cant_use(ask: Callable[..., str], tmp_path: Path) -> None:
    assert "--since is no date" in ask("adoption", code=2, since="monday")
    assert "not come yet" in ask("adoption", code=2, since="2999-01-01")
    bad = tmp_path / "usage.csv"
    bad.write_text("model,day,requests\nm,never,1\nm,2026-11-01,none\n")
    said = ask("adoption", code=2, volume=str(bad))
    assert "usage.csv:2" in said
    assert "usage.csv:3" in said
    assert "Prometheus does not answer" in ask("adoption", code=3, volume="prometheus:http://127.0.0.1:1")
    assert "no volume to draw" in ask("adoption", code=2, picture=tmp_path / "x.svg")


@needs_browser
def test_the_page_fits_every_screen(store: Store, tmp_path: Path) -> None:
    desk = lock_model(store, "desk", plan={"business_case": CASE})
    long = lock_model(store, "a-name-that-nobody-would-give-but-somebody-will-all-the-same-no", model="other")
    decline(store, "small", ("Already small: nothing to win.",))
    count(store, "support", serve(store, "support", desk), 0, quantized=1_234_567_890, full=300, tokens=98_765_432_100)
    count(
        store,
        "an-endpoint-without-any-blank" * 2,
        serve(store, "an-endpoint-without-any-blank" * 2, long),
        0,
        quantized=90_000,
    )
    store.put_revalidation(
        revalidation("regressed").model_copy(update={"package": long, "reasons": ("a" * 90,)}), samples.evaluation()
    )
    for day in ("2026-10-05", "2026-10-12"):
        body = {"day": day, "since": day, "source": "gateway", "requests": 100, "covered": 40}
        store.append_event("quantplay", MEASURED, SUBJECT, body)
    page = tmp_path / "adoption.html"
    page.write_text(adoption_page(looked(store)), encoding="utf-8")
    with opened_browser() as browser:
        said: list[str] = []
        browser.on("console", lambda message: said.append(message.text))
        for scheme in ("light", "dark"):
            browser.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            for width in (1280, 700, 390):
                browser.set_viewport_size({"width": width, "height": 900})
                browser.goto(page.as_uri())
                assert browser.evaluate("document.documentElement.scrollWidth") <= width, width
                screenshot(browser, f"adoption-{width}-{scheme}", tmp_path)
        assert browser.locator("figure.chart").count() == 3
        assert browser.locator("#models tr").count() == 3
        assert said == []
