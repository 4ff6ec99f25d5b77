"""Whatever stands in the file: a Plan or a PlanError, never another exception."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plan_samples import PLAN

from quantplay.errors import PlanError
from quantplay.plan import Plan
from quantplay.plan_file import load_plan, read_plan

LINES = PLAN.splitlines()
SETTINGS = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
ODD = st.sampled_from(
    ["no", "~", "", ".nan", "1e999", "[", "{", "- a", "&a b", "*a", "!!python/name:os.system", "? x", "|", ">-", "\t", "'", '"',
     "%YAML 9.9", "---", "...", "<<: *a", "0x1", "9" * 400, "2026-02-30", "\\ud800", '"\\ud800"', '"\\U00110000"', "\u2028", "é", "@", "`"]
)  # fmt: skip


def plan_or_error(path: Path, raw: bytes) -> None:
    path.write_bytes(raw)
    file = load_plan(path)
    if file.plan is not None:
        assert read_plan(path) == file.plan
        return
    with pytest.raises(PlanError) as caught:
        read_plan(path)
    str(caught.value).encode()  # can be printed
    assert caught.value.faults
    for fault in caught.value.faults:
        place, _, line = fault.where.rpartition(":")
        assert fault.where == str(path) or (place == str(path) and int(line) >= 1)


@SETTINGS
@given(raw=st.binary(max_size=300))
def test_any_bytes(tmp_path: Path, raw: bytes) -> None:
    plan_or_error(tmp_path / "plan.yaml", raw)


@SETTINGS
@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=300))
def test_any_text(tmp_path: Path, text: str) -> None:
    plan_or_error(tmp_path / "plan.yaml", text.encode())


@SETTINGS
@given(
    pieces=st.lists(st.one_of(ODD, st.sampled_from(LINES)), max_size=30),
    glue=st.sampled_from(["\n", " ", "\n  ", ": "]),
)
def test_pieces_of_yaml_in_any_order(tmp_path: Path, pieces: list[str], glue: str) -> None:
    plan_or_error(tmp_path / "plan.yaml", glue.join(pieces).encode("utf-8", "surrogatepass"))


@SETTINGS
@given(number=st.integers(0, len(LINES) - 1), value=ODD, keep=st.booleans())
def test_a_good_plan_with_one_odd_value(tmp_path: Path, number: int, value: str, keep: bool) -> None:
    lines = list(LINES)
    lines[number] = (lines[number].split(":")[0] + ": " if keep else "") + value
    plan_or_error(tmp_path / "plan.yaml", "\n".join(lines).encode("utf-8", "surrogatepass"))


@SETTINGS
@given(
    body=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
        max_leaves=20,
    ),
    key=st.sampled_from(list(Plan.model_fields)),
)
def test_any_value_under_any_key(tmp_path: Path, body: object, key: str) -> None:
    import yaml

    text = yaml.safe_dump({**yaml.safe_load(PLAN), key: body}, allow_unicode=True)
    plan_or_error(tmp_path / "plan.yaml", text.encode("utf-8", "surrogatepass"))
    assert load_plan(tmp_path / "plan.yaml").tree.lines
