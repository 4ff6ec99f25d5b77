"""What Grafana makes of a panel before it asks a data source: its variables, then the macros of its PostgreSQL plugin.

After public/app/features/templating and pkg/tsdb/grafana-postgresql-datasource/macros.go of Grafana: a macro's arguments end at the first
closing bracket, and are parted at every comma.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "infra" / "grafana"
VARIABLE = re.compile(r"\$\{(\w+)(?::([^}]+))?\}|\$(\w+)")
MACRO = re.compile(r"\$([_a-zA-Z0-9]+)\(([^)]*)\)")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """When somebody looks, and at what."""

    start: int  # seconds since 1970
    end: int
    interval: int = 60  # seconds between two points
    variables: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Query:
    """One target of a panel, an annotation, or a variable."""

    board: str
    title: str
    ref: str
    kind: str  # of the data source
    format: str
    text: str

    @property
    def name(self) -> str:
        return f"{self.board}: {self.title} {self.ref}"


def boards() -> dict[str, dict[str, Any]]:
    return {
        path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted((FOLDER / "dashboards").iterdir())
    }


def queries(kind: str) -> list[Query]:
    """Every query to a data source of this kind: `grafana-postgresql-datasource` or `prometheus`."""
    return [one for name, board in boards().items() for one in of_board(name, board) if one.kind == kind]


def of_board(name: str, board: Mapping[str, Any]) -> Iterator[Query]:
    found = [(panel["title"], target) for panel in board["panels"] for target in panel.get("targets", ())]
    found += [
        (note["name"], note["target"] | {"datasource": note["datasource"]}) for note in board["annotations"]["list"]
    ]
    for title, target in found:
        yield Query(
            board=name, title=title, ref=target["refId"], kind=target["datasource"]["type"], format=target.get("format", ""),
            text=target.get("rawSql") or target["expr"],
        )  # fmt: skip
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            yield Query(
                board=name, title=f"variable {variable['name']}", ref="", kind=variable["datasource"]["type"], format="table",
                text=variable["query"],
            )  # fmt: skip


def sql_of(text: str, asked: Asked) -> str:
    """The SQL that reaches PostgreSQL. Fails on a variable or a macro that Grafana would not know."""
    return MACRO.sub(
        lambda found: macro(found[1], [one.strip() for one in found[2].split(",")], asked), replaced(text, asked)
    )


def promql_of(text: str, asked: Asked) -> str:
    return replaced(text.replace("$__rate_interval", "1m"), asked)


def replaced(text: str, asked: Asked) -> str:
    times = {"__from": asked.start, "__to": asked.end}
    intervals = {"__interval_ms": str(asked.interval * 1000), "__interval": f"{asked.interval}s"}

    def one(found: re.Match[str]) -> str:
        name, how = found[1] or found[3], found[2]
        if name in times and how == "date:seconds":
            return str(times[name])
        if name in intervals and how is None:
            return intervals[name]
        if name in asked.variables:
            value = asked.variables[name]
            return "'" + value.replace("'", "''") + "'" if how == "sqlstring" else value
        assert found[3] is not None, f"Grafana knows no {found[0]}"
        return found[0]  # a macro, or a fault that PostgreSQL will find

    return VARIABLE.sub(one, text)


def macro(name: str, arguments: list[str], asked: Asked) -> str:
    start, end = (f"'{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}'" for at in (asked.start, asked.end))
    seconds = arguments[1].removesuffix("s") if len(arguments) > 1 else ""
    match name:
        case "__timeFilter":
            return f"{arguments[0]} BETWEEN {start} AND {end}"
        case "__timeFrom":
            return start
        case "__timeTo":
            return end
        case "__timeGroup":
            return f"floor(extract(epoch from {arguments[0]})/{seconds})*{seconds}"
        case "__unixEpochGroup":
            return f"floor(({arguments[0]})/{seconds})*{seconds}"
    raise AssertionError(f"Grafana knows no ${name}, or these tests don't")
