"""Volume as files and traffic tell it: every fault with its line, and nothing lost between what is told and what served."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from adoption_facts import CONFIRMED, MODELS, NOW, PACKAGES, STALE
from hypothesis import given, settings
from hypothesis import strategies as st

from quantplay.adoption import read_source
from quantplay.adoption.csv_file import read_csv
from quantplay.adoption.served import FULL_PRECISION, Directory, Told, apportioned, by_gateway, resolved, shares
from quantplay.errors import InputError
from quantplay.store.traffic import Change
from quantplay.store.volume import Counted, Policy

DAY = date(2026, 11, 20)
TODAY = NOW.date()


def directory(*changes: Change, policies: tuple[Policy, ...] = ()) -> Directory:
    named = {key: key for key in PACKAGES} | {"desk/production": CONFIRMED.key, "m" * 64: CONFIRMED.key}
    told = policies or (policy(1), policy(2, package=STALE.key, quantized_model="old-q4", taken_back=True))
    return Directory(
        packages=PACKAGES, named=named, models={"plan-1": MODELS[0], "org/model": MODELS[0], MODELS[0]: MODELS[0]},
        policies={(one.endpoint, one.revision): one for one in told}, changes={"desk": changes}, now=NOW,
    )  # fmt: skip


def policy(revision: int = 1, **told: object) -> Policy:
    return Policy(**{
        "endpoint": "desk", "revision": revision, "package": CONFIRMED.key, "quantized_model": "desk-q4",
        "full_precision_model": "desk-f16", "since": NOW, "taken_back": False, **told,
    })  # fmt: skip  # type: ignore[arg-type]


def change(hour: float, weight: float, *, revision: int = 1, state: str = "canary", kill: bool = False) -> Change:
    at = datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC) + timedelta(hours=hour)
    return Change(
        endpoint="desk", version=1, revision=revision, state=state, weight=weight, kill=kill, actor="a", reason="r", at=at,  # type: ignore[arg-type]
    )  # fmt: skip


def told(name: str, package: str | None = None, *, endpoint: bool = False) -> Told:
    return Told(name=name, is_endpoint=endpoint, day=DAY, requests=1000, tokens=10, package=package)


# --- a file ----------------------------------------------------------------------------------------------------------------


def test_a_file_says_who_was_asked_how_often(tmp_path: Path) -> None:
    path = tmp_path / "usage.csv"
    path.write_text(
        "\ufeffDay,endpoint,model,requests,tokens,package\n2026-11-20,desk,,100,4000,\n\n"
        '2026-11-20,,"org/model, large",7,,full_precision\n2026-11-20,desk,,50,,desk/production\n', encoding="utf-8",
    )  # fmt: skip
    rows = read_csv(path, TODAY)
    assert [(one.name, one.is_endpoint, one.requests, one.tokens, one.package) for one in rows] == [
        ("desk", True, 100, 4000, None),
        ("org/model, large", False, 7, None, FULL_PRECISION),
        ("desk", True, 50, None, "desk/production"),
    ]


def test_every_fault_is_told_at_once_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "usage.csv"
    path.write_text(
        "model,day,requests,tokens\nm,2026-11-20,5,\nm,yesterday,5,\nm,2026-11-21,-5,1.5\n,2026-11-21,5,\n"
        "m,2026-11-23,5,\nm,2026-11-19\nm,2026-11-20,6,\nm,2026-11-18,1e3,\n"
    )  # fmt: skip
    with pytest.raises(InputError) as refused:
        read_csv(path, TODAY)
    found = [(fault.where.rpartition(":")[2], fault.what) for fault in refused.value.faults]
    assert [line for line, _ in found] == ["3", "4", "4", "5", "6", "7", "8", "9"]
    for (_, what), word in zip(
        found, ("no date", "`requests`", "`tokens`", "either", "not come yet", "columns", "line 2", "`requests`"), strict=True
    ):  # fmt: skip
        assert word in what


@pytest.mark.parametrize(
    "text", ["", "\n", "model;day;requests\nm;2026-11-20;5\n", "day,requests\n2026-11-20,5\n", "model,day,requests,token\n"]
)  # fmt: skip
def test_a_first_line_that_does_not_name_the_columns_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "usage.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=r"usage\.csv:1"):
        read_csv(path, TODAY)


@pytest.mark.parametrize(
    "content", [b"model,day,requests\nm\xff,2026-11-20,5\n", b'model,day,requests\n"m,2026-11-20,5']
)
def test_what_is_no_text_and_no_csv_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "usage.csv"
    path.write_bytes(content)
    with pytest.raises(InputError):
        read_csv(path, TODAY)


def test_what_can_be_no_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="can't be read"):
        read_source(str(tmp_path / "gone.csv"), None, NOW)
    with pytest.raises(InputError, match="no address"):
        read_source("prometheus:somewhere", None, NOW)
    with pytest.raises(InputError, match="not come yet"):
        read_source(None, date(2026, 11, 23), NOW)
    assert read_source(None, None, NOW).since == date(2026, 10, 24)


@settings(deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("any") / "usage.csv"
    path.write_bytes(("model,day,requests\n" + text).encode("utf-8", "surrogatepass"))
    try:
        rows = read_csv(path, TODAY)
    except InputError:
        return
    assert all(one.day <= TODAY and one.requests >= 0 for one in rows)


# --- what names mean -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "arm", "package", "model"),
    [
        (told("anything", CONFIRMED.key), "quantized", CONFIRMED.key, MODELS[0]),
        (told("anything", "desk/production"), "quantized", CONFIRMED.key, MODELS[0]),
        (told("desk", "desk/production", endpoint=True), "quantized", CONFIRMED.key, MODELS[0]),
        (told("plan-1", "nobody knows this"), "quantized", None, MODELS[0]),
        (told("plan-1", FULL_PRECISION), "full_precision", None, MODELS[0]),
        (told("plan-1"), "untold", None, MODELS[0]),  # a validated package exists; nobody says that it served
        (told("org/model"), "untold", None, MODELS[0]),
        (told("desk/production"), "quantized", CONFIRMED.key, MODELS[0]),
        (told("desk-q4"), "quantized", CONFIRMED.key, MODELS[0]),
        (told("desk-f16"), "full_precision", None, MODELS[1]),
        (told("who"), "untold", None, None),
        (told("who", FULL_PRECISION), "full_precision", None, None),
    ],
)
def test_what_a_name_says_served(one: Told, arm: str, package: str | None, model: str | None) -> None:
    (found,) = resolved([one], directory())
    assert (found.arm, found.package, found.model, found.requests) == (arm, package, model, 1000)


def test_a_name_that_both_arms_have_says_nothing() -> None:
    both = directory(policies=(policy(quantized_model="desk", full_precision_model="desk"),))
    (found,) = resolved([told("desk")], both)
    assert (found.arm, found.model) == ("untold", MODELS[0])
    two = directory(policies=(policy(1), policy(2, package=STALE.key)))  # one served name, two packages
    assert [one.arm for one in resolved([told("desk-q4")], two)] == ["untold"]


def test_the_beginning_of_a_key_is_enough_where_it_is_one() -> None:
    known = Directory(packages={}, named={"abcdef0123" + "0" * 54: "x", "abcdef0124" + "0" * 54: "y"}, models={}, policies={}, changes={}, now=NOW)  # fmt: skip
    assert known.package("ABCDEF0123") == "x"
    assert known.package("abcdef012") is None  # two
    assert known.package("abcdef0") is None  # too short to be meant


def test_a_day_is_split_as_its_traffic_was() -> None:
    found = shares((change(6, 0.5), change(12, 1.0), change(18, 1.0, state="rolled_back")), DAY, NOW)
    assert found == [(None, "untold", 0.25), (1, "quantized", 0.375), (1, "full_precision", 0.375)]
    assert shares((change(-30, 0.25, kill=True),), DAY, NOW) == [(1, "full_precision", 1.0)]
    assert shares((), DAY, NOW) == [(None, "untold", 1.0)]
    parts = list(resolved([told("desk", endpoint=True)], directory(change(6, 0.5), change(12, 1.0), change(18, 0.0))))
    assert [(one.arm, one.requests, one.tokens) for one in parts] == [
        ("untold", 250, 2), ("quantized", 375, 4), ("full_precision", 375, 4),
    ]  # fmt: skip
    assert {one.model for one in parts} == {
        MODELS[1],
        MODELS[0],
    }  # what was before the first change: of the newest release


TIMES = st.lists(
    st.tuples(st.floats(-48, 48), st.floats(0, 1), st.sampled_from(["canary", "live", "rolled_back"])), max_size=6
)


@settings(deadline=None)
@given(TIMES, st.integers(0, 10**9))
def test_a_split_loses_nothing(moves: list[tuple[float, float, str]], requests: int) -> None:
    changes = tuple(change(hour, weight, state=state) for hour, weight, state in sorted(moves))
    parts = shares(changes, DAY, NOW)
    assert sum(part for *_, part in parts) == pytest.approx(1)
    given_ = apportioned(requests, [part for *_, part in parts])
    assert sum(given_) == requests
    assert min(given_) >= 0
    assert all(
        abs(count - requests * part) <= 1 + 1e-6 * requests for count, (*_, part) in zip(given_, parts, strict=True)
    )


# --- our gateways ----------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(
    st.integers(0, 10**6), st.none() | st.integers(0, 10**8), st.integers(0, 100), st.sampled_from(["quantized", "full_precision"])
)  # fmt: skip
def test_what_full_precision_answered_is_not_the_quantized_models(
    requests: int, tokens: int | None, other: int, arm: str
) -> None:
    one = Counted(endpoint="desk", revision=1, arm=arm, day=DAY, requests=requests, tokens=tokens, other_arm=other)  # type: ignore[arg-type]
    found = list(by_gateway([one], directory()))
    assert sum(row.requests for row in found) == requests
    quantized = [row for row in found if row.arm == "quantized"]
    assert sum(row.requests for row in quantized) == (max(0, requests - other) if arm == "quantized" else 0)
    assert all(row.package == CONFIRMED.key and row.model == MODELS[0] for row in quantized)
    if requests and tokens is not None:
        assert sum(row.tokens or 0 for row in found) == tokens
    assert all(row.tokens is None for row in found) or tokens is not None


def test_the_file_in_the_documentation_can_be_read(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "adoption.md").read_text(encoding="utf-8")
    path = tmp_path / "usage.csv"
    path.write_text(page.split("```csv\n")[1].split("```")[0], encoding="utf-8")
    assert [one.requests for one in read_csv(path, TODAY)] == [41_200, 2100, 9000, 15_500]
