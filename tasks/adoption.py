"""Adoption on the platform: a page and pictures for people, an event for the record and one for Prefect. What it is: quantplay.adoption."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from prefect import task
from prefect.artifacts import create_image_artifact, create_markdown_artifact
from prefect.events import emit_event

from quantplay.adoption import MEASURED, SUBJECT, Adoption, adoption, read_source
from quantplay.adoption.chart import months_chart, volume_chart, weeks_chart
from quantplay.adoption.markdown import adoption_markdown
from quantplay.adoption.words import coverage_sentences
from tasks.monitor import ONCE
from tasks.progress import announce
from tasks.workbench import workbench

EVENT = "quantplay.adoption.measured"
KEY = "adoption"


@task(name="measure adoption", **ONCE)
def measure_adoption(days: int, volume: str) -> Adoption:
    """`days`: how far back, with today; `volume`: as on the command line, empty for our gateways."""
    now = datetime.now(UTC)
    source = read_source(volume or None, (now - timedelta(days=days - 1)).date(), now)
    found = adoption(workbench().store, source, now)
    announce("adoption", next(coverage_sentences(found)))
    return found


@task(name="show adoption", **ONCE)
def show_adoption(found: Adoption) -> None:
    """The page, and the pictures there is something to draw in."""
    first = next(coverage_sentences(found))
    create_markdown_artifact(adoption_markdown(found), key=KEY, description=first)
    charts = {"volume": volume_chart(found), "weeks": weeks_chart(found), "months": months_chart(found)}
    for name, chart in charts.items():
        if chart is not None:
            create_image_artifact(chart.data_url(), key=f"{KEY}-{name}", description=chart.title)


@task(name="remember adoption", **ONCE)
def remember_adoption(found: Adoption) -> None:
    """What next week compares with; nothing where no volume was told, which is not 0."""
    told = found.coverage
    if told.covered is None:
        return
    body = {
        "day": found.at[:10],
        "since": found.since,
        "source": found.source,
        "requests": told.requests,
        "covered": told.by["validated"],
    }
    workbench().store.append_event("quantplay", MEASURED, SUBJECT, body)
    emit_event(EVENT, resource={"prefect.resource.id": "quantplay.adoption"}, payload={**body, "share": told.covered})
