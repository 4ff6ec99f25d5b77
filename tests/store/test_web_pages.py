"""The registry's pages: what they say, that nothing written becomes markup, that every package is on exactly one page, and in a real browser."""

from __future__ import annotations

import asyncio
import hashlib
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest
from browser import needs_browser, opened_browser, screenshot
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from locked_models import TYPES, lock_model
from test_store_revalidations import EVALUATION, revalidation
from test_store_signoffs import opened, waits
from web_server import served

from quantplay.live.release import release
from quantplay.records import Import
from quantplay.records.traffic import PolicyRevision, ServedArm
from quantplay.store.incidents import Lesson
from quantplay.store.registry import Store
from quantplay.web.app import Site, app_of
from quantplay.web.asked import asked
from quantplay.web.list import page_of

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
NOW = datetime.now(UTC)


@pytest.fixture
def site(store: Store, tmp_path: Path) -> Site:
    return Site(open=lambda: store, owners=tmp_path / "owners.yaml", reports=tmp_path / "reports")


def got(site: Site, path: str, host: str = "localhost", names: tuple[str, ...] = ()) -> httpx.Response:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app=app_of(site, names), raise_app_exceptions=False)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}") as client:
            return await client.get(path)

    return asyncio.run(ask())


def page(site: Site, path: str) -> str:
    answer = got(site, path)
    assert answer.status_code == 200, answer.text
    return answer.text


class Links(HTMLParser):
    """Every tag and address of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.found: list[str] = []
        self.next: str | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = dict(attrs)
        self.tags.add(tag)
        self.attributes |= told.keys()
        self.found += [str(told[name]) for name in ("href", "src", "action") if told.get(name)]
        if told.get("rel") == "next":
            self.next = told["href"]


def packages_on(text: str) -> list[str]:
    return re.findall(r'<td class="lead name"><a href="/packages/([0-9a-f]{64})"', text)


def regress(store: Store, key: str, why: str) -> None:
    store.put_revalidation(revalidation("regressed").model_copy(update={"package": key, "reasons": (why,)}), EVALUATION)


def everything(store: Store) -> str:
    """A package that is named, serves, regressed and has an incident; and a run that waits. Its key."""
    key = lock_model(
        store, "desk", drop=1.25, plan={"use_case": "Answers customers", "trade_off": "Speed for a point."}
    )
    store.set_alias("desk/production", key, actor="ada", reason="first release")
    regress(store, key, "Orders are added up wrongly.")
    manifest = store.package_named(key).manifest
    arms = {
        name: ServedArm(url="http://127.0.0.1:9/v1", model=name, artifact="a" * 64)
        for name in ("full_precision", "quantized")
    }
    release(
        store, PolicyRevision(endpoint="chat", package=manifest, salt="s", steps=(0.5, 1.0), **arms), weight=0.5, actor="ada",
        reason="for the page",
    )  # fmt: skip
    taken_back = store.open_incident(kind="live rollback", package=manifest, what="Errors rose.")
    lesson = Lesson(text="Drivers are pinned.", folded_into="standard", where="standards 3")
    store.close_incident(str(taken_back.id), by="ada", resolution="the driver was rolled back", lesson=lesson)
    run = opened(store, "waiting")
    waits(store, run)
    return key


def test_a_page_says_what_the_registry_holds(store: Store, site: Site) -> None:
    key = everything(store)
    listed = page(site, "/")
    assert packages_on(listed) == [key]
    for told in ("Answers customers", "desk/production", "regressed", "incident", "chat", "canary, 50 %", "Q4_K_M"):
        assert told in listed
    one = page(site, f"/packages/{key}")
    for told in (
        "Orders are added up wrongly.", "The trade-off: Speed for a point.", "canary, 50 % of conversations", "named it",
        "first release", "opened an incident", "began the run", store.package_named(key).manifest,
    ):  # fmt: skip
        assert told in one
    assert 'class="gate-row"' in one
    assert page(site, "/packages/desk/production") == one
    assert "The quantized model answers 50 % of conversations" in page(site, "/endpoints")
    assert f"/packages/{key}" in page(site, "/endpoints")
    wrong = page(site, "/incidents")
    for told in ("Orders are added up wrongly.", "Lesson: Drivers are pinned.", "standard: standards 3"):
        assert told in wrong
    assert wrong.count(f'href="/packages/{key}"') == 2  # one incident names the manifest, as releases do
    assert "Left here: locked" in page(site, "/funnel").replace("Locked", "locked")
    waiting = page(site, "/sign")
    assert "ML engineer" in waiting
    assert "product owner" in waiting
    run = store.all_waiting()[0].waits.run
    assert f"/runs/{run}" in waiting
    assert f"quantplay sign {run[:8]} --role product_owner --approve" in page(site, f"/runs/{run}")


def test_the_list_is_searched_and_filtered(store: Store, site: Site) -> None:
    made = {kind: lock_model(store, f"desk-{kind.lower()}", kind=kind, model=f"org/{kind}") for kind in TYPES}
    regress(store, made["Q8_0"], "Worse.")
    for query, expected in {
        "text=org/q8": {"Q8_0"}, "type=q5_k_m": {"Q5_K_M"}, "bits=4": {"Q4_K_M", "Q4_0"}, "state=regressed": {"Q8_0"},
        "state=confirmed": {"Q4_K_M", "Q4_0", "Q5_K_M"}, "state=regressed&bits=4": set(), "runtime=vllm": set(),
        f"base={store.package_named(made['Q4_0']).base}": {"Q4_0"}, "unknown=word": set(TYPES),
    }.items():  # fmt: skip
        assert set(packages_on(page(site, f"/?{query}"))) == {made[kind] for kind in expected}, query
    text = page(site, "/?text=no+such&type=Q4_0")
    assert "No locked package is like this." in text
    assert 'value="no such"' in text


@pytest.mark.parametrize("query", ["bits=x", "bits=٤", "state=fine", "after=zz", "text=%00", "text=" + "a" * 201])
def test_what_can_not_be_looked_for_is_refused(site: Site, query: str) -> None:
    answer = got(site, f"/?{query}")
    assert answer.status_code == 404
    assert "This is not here" in answer.text


@hypothesis_settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(size=st.integers(1, 9), state=st.sampled_from([None, "confirmed", "regressed"]), at_once=st.integers(1, 9))
def test_every_package_is_on_exactly_one_page(
    crowd: tuple[Store, dict[str, str]], size: int, state: str | None, at_once: int
) -> None:
    from quantplay.web import list as listing

    store, states = crowd
    listing.AT_ONCE = at_once
    seen: list[str] = []
    query = {"state": state} if state else {}
    for _ in range(len(states) + 1):
        found = page_of(store, asked(query), NOW, size)
        assert len(found.shown) <= size
        seen += [one.entry.key for one in found.shown]
        if found.after is None:
            break
        query["after"] = found.after
    assert found.after is None
    wanted = [entry.key for entry in store.find_packages() if state in (None, states[entry.key])]
    assert seen == wanted  # each once, in the order of the whole list


@pytest.fixture
def crowd(store: Store, monkeypatch: pytest.MonkeyPatch) -> tuple[Store, dict[str, str]]:
    from quantplay.web import list as listing

    monkeypatch.setattr(listing, "AT_ONCE", listing.AT_ONCE)  # put back at the end
    states = {}
    for number in range(11):
        key = lock_model(store, f"team-{number}", items=1)
        states[key] = "regressed" if number % 3 == 0 else "confirmed"
        if states[key] == "regressed":
            regress(store, key, "Worse.")
    return store, states


def test_links_lead_through_all_pages_and_only_to_pages(
    store: Store, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    from quantplay.web import app

    monkeypatch.setattr(app, "page_of", lambda store, asked, now: page_of(store, asked, now, 3))
    made = {lock_model(store, f"team-{number}", items=1) for number in range(7)} | {everything(store)}
    address: str | None = "/?text=e"
    seen: list[str] = []
    while address:
        text = page(site, address)
        seen += packages_on(text)
        address = Links(text).next
    assert sorted(seen) == sorted(made)
    reached, todo = set(), ["/"]
    while todo and len(reached) < 60:
        here = todo.pop()
        if here in reached:
            continue
        reached.add(here)
        answer = got(site, here)
        assert answer.status_code == 200, here
        assert "script" not in Links(answer.text).tags
        for link in Links(answer.text).found if "html" in answer.headers["content-type"] else ():
            assert link.startswith(("/", "#", "data:,")), link
            todo += [link.partition("#")[0]] if link.startswith("/") else []
    assert {"/", "/sign", "/endpoints", "/incidents", "/funnel", "/style.css"} <= reached


def test_nothing_that_somebody_wrote_becomes_markup(store: Store, site: Site) -> None:
    plan = {"use_case": HOSTILE, "trade_off": HOSTILE}
    key = lock_model(store, model=HOSTILE, plan=plan)
    store.set_alias("desk/x", key, actor=HOSTILE, reason=HOSTILE)
    regress(store, key, HOSTILE)
    (incident,) = store.list_incidents()
    lesson = Lesson(text=HOSTILE, folded_into="documentation", where=HOSTILE)
    store.close_incident(str(incident.id), by=HOSTILE, resolution=HOSTILE, lesson=lesson)
    run = store.get_run("")
    assert run is not None
    for address in (
        "/",
        f"/packages/{key}",
        f"/runs/{run.id}",
        "/incidents",
        "/funnel",
        "/sign",
        "/endpoints",
        f"/?text={HOSTILE}",
        f"/packages/{HOSTILE}",
    ):
        text = got(site, address).text
        found = Links(text)
        assert not {"script", "img", "iframe", "object"} & found.tags, address
        assert not {name for name in found.attributes if name.startswith("on") or name == "style"}, address
        assert not [link for link in found.found if not link.startswith(("/", "#", "data:,"))], address
    assert "&lt;script&gt;alert(1)" in page(site, f"/packages/{key}")


def test_headers_forbid_what_pages_do_not_need(store: Store, site: Site) -> None:
    lock_model(store)
    for address in ("/", "/style.css", "/nowhere", "/healthz"):
        answer = got(site, address)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src" not in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert got(site, "/nowhere").status_code == 404


def test_only_known_names_are_answered(store: Store, site: Site) -> None:
    assert got(site, "/", host="evil.example").status_code == 400
    assert got(site, "/", host="registry.example", names=("registry.example",)).status_code == 200
    assert got(site, "/", host="127.0.0.1:4300").status_code == 200


def test_a_report_is_shown_only_as_it_was_locked(store: Store, site: Site, tmp_path: Path) -> None:
    import json

    import sqlalchemy as sa

    key = lock_model(store, folder=str(tmp_path))
    folder = Path(store.package_named(key).path)
    folder.mkdir()
    report = b"<!doctype html><script>1</script>The report"
    (folder / "report.html").write_bytes(report)
    listed = {
        "files": [{"path": "report.html", "size_bytes": len(report), "sha256": hashlib.sha256(report).hexdigest()}]
    }
    (folder / "manifest.json").write_text(json.dumps(listed))
    assert got(site, f"/reports/{key}").status_code == 404  # another manifest than the registry's
    with store.engine.begin() as connection:
        digest = hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()
        connection.execute(sa.text("ALTER TABLE quantplay.packages DISABLE TRIGGER USER"))
        told = {"old": store.package_named(key).manifest, "new": digest}
        connection.execute(sa.text("UPDATE quantplay.packages SET canonical = replace(canonical, :old, :new)"), told)
    answer = got(site, f"/reports/{key}")
    assert answer.content == report
    assert "sandbox" in answer.headers["content-security-policy"]  # whatever a report holds, nothing of it runs
    (folder / "report.html").write_bytes(report + b" changed")
    assert got(site, f"/reports/{key}").status_code == 404


@needs_browser
@pytest.mark.slow
def test_a_person_finds_a_model_and_reads_all_of_it(store: Store, site: Site, tmp_path: Path) -> None:
    for number in range(9):
        lock_model(
            store,
            f"team-{number}",
            kind=list(TYPES)[number % 4],
            items=1,
            drop=number / 5,
            plan={"use_case": "Sorts the mail of a team"},
        )
    key = everything(store)
    with served(site) as url, opened_browser() as browser:
        said: list[str] = []
        browser.on("console", lambda message: said.append(message.text))
        browser.goto(url)
        browser.get_by_label("Search").fill("answers CUSTOMERS")
        browser.get_by_role("button", name="Find").click()
        assert browser.locator("table.models td.name").count() == 1
        browser.get_by_role("link", name="desk", exact=True).click()
        assert browser.url == f"{url}/packages/{key}"
        assert browser.get_by_text("Orders are added up wrongly.").first.is_visible()
        run = store.all_waiting()[0].waits.run
        shown = {
            "models": "/",
            "package": f"/packages/{key}",
            "sign": "/sign",
            "run": f"/runs/{run}",
            "endpoints": "/endpoints",
            "incidents": "/incidents",
            "funnel": "/funnel",
        }
        for width in (1280, 390):
            browser.set_viewport_size({"width": width, "height": 900})
            for name, address in shown.items():
                browser.goto(url + address)
                assert browser.evaluate("document.documentElement.scrollWidth") <= width, (name, width)
                screenshot(browser, f"web-{name}-{width}", tmp_path)
        browser.emulate_media(color_scheme="dark")
        browser.set_viewport_size({"width": 1280, "height": 900})
        for name in ("models", "package"):
            browser.goto(url + shown[name])
            screenshot(browser, f"web-{name}-dark", tmp_path)
        assert said == []


def test_what_was_quantized_elsewhere_stands_beside_the_packages(store: Store, site: Site) -> None:
    theirs = Import(
        sha256="c" * 64, name=HOSTILE, base="d" * 64, base_source="org/chat", format="gguf", type="Q4_K_M", nominal_bits=4, group_size=32,
        bits_per_weight=4.8, size_bytes=9, file_name="theirs.gguf", files=(), tensors={}, full_precision=(), words={}, origin="a colleague",
        said_by="ada", at=NOW.isoformat(),
    )  # fmt: skip
    store.register_import(theirs)
    key = lock_model(store, "desk")
    for path, there, packages in (
        ("/", True, True), ("/?state=unvalidated", True, False), ("/?state=confirmed", False, True), ("/?text=chat&bits=4", True, False),
        ("/?bits=8", False, False), ("/?owner=ada", False, False),
    ):  # fmt: skip
        text = page(site, path)
        assert ("c" * 12 in text, key in text) == (there, packages), path
        assert "<script" not in text
        assert "<img" not in text
