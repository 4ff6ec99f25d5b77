"""`quantplay evaluate` where an answer ends: real model, real runtime."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from quantplay.cli.evaluate import command

MODEL = Path(__file__).parents[2] / "examples" / "pilot" / "model"
ITEM = {
    "id": "a",
    "slice": "sums",
    "prompt": "order 808: chair 5, shelf 7\ntotal?\nanswer:",
    "answer": "5+7=12 total 12",
    "scorer": "number",
}


@pytest.mark.parametrize(
    ("stop", "response"), [((), "5+7=12 total 12"), (("=",), "5+7"), (("nowhere", "\\n"), "5+7=12 total 12")]
)
def test_an_answer_ends_where_it_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], stop: tuple[str, ...], response: str
) -> None:
    items = tmp_path / "items.jsonl"
    items.write_text(json.dumps(ITEM) + "\n", encoding="utf-8")
    code = command(
        MODEL,
        [items],
        None,
        batch=1,
        max_tokens=32,
        context_tokens=256,
        speed=False,
        allow_code=(),
        stop=stop,
        json=True,
    )
    assert code == 0
    report = json.loads(capsys.readouterr().out)
    (item,) = find(report, "items")[0]
    assert item["response"].strip() == response


def find(body: object, key: str) -> list[list[dict[str, str]]]:
    """Every value under `key` in a JSON body."""
    if isinstance(body, dict):
        return [value for name, value in body.items() if name == key] + [
            one for value in body.values() for one in find(value, key)
        ]
    return [one for value in body for one in find(value, key)] if isinstance(body, list) else []
