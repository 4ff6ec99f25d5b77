"""Whatever stands in the files: `check_plan` reports and never raises, `read_items` gives items or every fault with its line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plan_samples import PLAN, items, write_sample

from quantplay.errors import Fault, InputError
from quantplay.evalset import EvalItem, read_items
from quantplay.plan import Plan
from quantplay.plan_file import read_plan
from quantplay.plays.check import CheckReport, check_plan

SLOW = settings(
    deadline=None, max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.differing_executors],
)  # fmt: skip
FAST = settings(SLOW, max_examples=200)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a good plan with all its files; each example writes its own plan beside the good one."""
    folder = tmp_path_factory.mktemp("sample")
    write_sample(folder)
    return folder


# --- plans ---------------------------------------------------------------------------------------------------------

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12)
    | st.sampled_from(["", "gate.jsonl", "model", "Q4_K_M", "~", "..", "/dev/zero", "/", "x" * 400, 0, -1, 1e300, 10**30])
)  # fmt: skip
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def places(tree: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place of a tree below its root."""
    keys = list(tree) if isinstance(tree, dict) else list(range(len(tree))) if isinstance(tree, list) else []
    return [found for key in keys for found in [(*place, key), *places(tree[key], (*place, key))]]


GOOD: dict[str, Any] = yaml.safe_load(PLAN)
PLACES = places(GOOD)


@st.composite
def mutated(draw: st.DrawFn) -> dict[str, Any]:
    """The good plan with one to three of its values replaced, removed, renamed or moved."""
    tree = json.loads(json.dumps(GOOD))
    for place in draw(st.lists(st.sampled_from(PLACES), min_size=1, max_size=3, unique=True)):
        parent = tree
        try:
            for key in place[:-1]:
                parent = parent[key]
            value = parent.pop(place[-1])
        except (KeyError, IndexError, TypeError, AttributeError):
            continue  # an earlier change took it away
        how = draw(st.sampled_from(["replace", "remove", "rename", "twin"]))
        if isinstance(parent, list):
            parent.insert(place[-1], draw(TREES) if how == "replace" else value)
        elif how != "remove":
            name = place[-1] if how in ("replace", "twin") else draw(st.text(max_size=8))
            parent[name] = draw(TREES) if how == "replace" else value
            if how == "twin":
                parent[f"{name}_"] = value
    return tree


def require_report(path: Path, report: CheckReport) -> None:
    for fault in (*report.faults, *report.warnings):
        assert isinstance(fault, Fault)
        assert fault.where.strip()
        assert fault.what.strip()
        str(fault).encode()
        name, _, line = fault.where.rpartition(":")
        if name == str(path):
            assert 1 <= int(line) <= path.read_bytes().count(b"\n") + 1
    assert CheckReport.model_validate_json(report.model_dump_json()) == report
    assert (report.plan is None) <= bool(report.faults)


@SLOW
@given(tree=mutated())
def test_a_mutated_plan_is_reported(sample: Path, tree: dict[str, Any]) -> None:
    path = sample / "mutated.yaml"
    path.write_bytes(yaml.safe_dump(tree, allow_unicode=True).encode("utf-8", "surrogatepass"))
    require_report(path, check_plan(path))


@SLOW
@given(tree=TREES)
def test_any_tree_is_reported(sample: Path, tree: Any) -> None:
    path = sample / "tree.yaml"
    path.write_bytes(yaml.safe_dump(tree, allow_unicode=True).encode("utf-8", "surrogatepass"))
    require_report(path, check_plan(path))
    assert not check_plan(path).good


@SLOW
@given(raw=st.binary(max_size=200), at=st.integers(0, len(PLAN)), gone=st.integers(0, 40))
def test_bytes_spliced_into_a_plan_are_reported(sample: Path, raw: bytes, at: int, gone: int) -> None:
    path = sample / "spliced.yaml"
    path.write_bytes(PLAN.encode()[:at] + raw + PLAN.encode()[at + gone :])
    require_report(path, check_plan(path))


NUMBERS = st.floats(0.1, 45, allow_nan=False)
WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=30).filter(
    str.strip
)


@FAST
@given(
    seed=st.integers(0, 2**32 - 1), name=st.from_regex(r"[a-z0-9][a-z0-9_-]{0,62}", fullmatch=True), use_case=WORDS,
    owner=WORDS, share=st.floats(0.01, 0.5), drop=NUMBERS, stop=st.lists(st.text("ab\n\t é\u2028", max_size=4), max_size=3),
)  # fmt: skip
def test_a_valid_plan_is_read_as_it_was_written(
    tmp_path: Path, seed: int, name: str, use_case: str, owner: str, share: float, drop: float, stop: list[str]
) -> None:
    tree = json.loads(json.dumps(GOOD)) | {"seed": seed, "name": name, "use_case": use_case}
    tree["owners"]["ml_engineer"] = owner
    tree["decoding"]["stop"] = stop
    tree["gate"]["hardest"]["share"] = share
    tree["gate"]["slices"]["reasoning"] = {"max_drop": drop, "broken_drop": 2 * drop}
    path = tmp_path / "plan.yaml"
    path.write_text(
        json.dumps(tree, ensure_ascii=True), encoding="utf-8"
    )  # JSON is YAML, and writes every text exactly
    plan = read_plan(path)
    assert (plan.seed, plan.name, plan.use_case, plan.owners.ml_engineer) == (seed, name, use_case, owner)
    assert (plan.decoding.stop, plan.gate.hardest.share) == (tuple(stop), share)
    assert (plan.gate.slices["reasoning"].max_drop, plan.gate.slices["reasoning"].broken_drop) == (drop, 2 * drop)
    path.write_text(json.dumps(plan.body()), encoding="utf-8")
    again = read_plan(path)
    assert again == plan
    assert (again.digest(), again.gate_digest()) == (plan.digest(), plan.gate_digest())
    assert Plan.model_validate_json(plan.model_dump_json(by_alias=True)) == plan


# --- evaluation files ----------------------------------------------------------------------------------------------

ROWS = [json.dumps(row).encode() for row in items("gate", 3)]
ODD = st.sampled_from(
    [b"", b" ", b"{", b"}", b"null", b"NaN", b'{"id": 1}', b"\xff", b"\0", b'"\\ud800"', b"[" * 2000, b"\r", b"\xef\xbb\xbf", b"1e999", b",", b'\\u0000']
)  # fmt: skip


@st.composite
def lines(draw: st.DrawFn) -> bytes:
    """Good lines, of which some have bytes replaced, values changed, or are something else."""
    found = []
    for row in draw(st.lists(st.sampled_from(ROWS), max_size=5)):
        how = draw(st.sampled_from(["good", "good", "bytes", "value", "other"]))
        if how == "bytes":
            at = draw(st.integers(0, len(row)))
            row = row[:at] + draw(ODD | st.binary(max_size=6)) + row[at + draw(st.integers(0, 4)) :]
        elif how == "value":
            body = json.loads(row)
            body[draw(st.sampled_from([*body, "choices", "extra"]))] = draw(TREES)
            row = json.dumps(body).encode()
        elif how == "other":
            row = draw(ODD | st.binary(max_size=40))
        found.append(row)
    return draw(st.sampled_from([b"\n", b"\r\n", b"\n\n"])).join(found)


def body_of(item: EvalItem) -> dict[str, Any]:
    body = {key: getattr(item, key) for key in ("id", "slice", "document", "prompt", "answer", "scorer")}
    return body | ({"choices": list(item.choices)} if item.choices else {})


def require_places(error: InputError, path: Path, content: bytes) -> None:
    assert error.faults
    for fault in error.faults:
        name, _, line = fault.where.rpartition(":")
        whole_file = fault.where == str(path)  # empty, or another format altogether
        assert whole_file or (name == str(path) and 1 <= int(line) <= content.count(b"\n") + 1), fault.where
        assert fault.allowed or fault.fix, fault
    str(error).encode()


@FAST
@given(content=lines() | st.binary(max_size=200))
def test_items_or_every_fault_with_its_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "items.jsonl"
    path.write_bytes(content)
    try:
        found = read_items(path)
    except InputError as error:
        require_places(error, path, content)
        return
    assert len(found) == len([line for line in content.split(b"\n") if line.strip()])
    copy = tmp_path / "copy.jsonl"
    copy.write_text("".join(json.dumps(body_of(item)) + "\n" for item in found), encoding="utf-8")
    assert read_items(copy) == found
