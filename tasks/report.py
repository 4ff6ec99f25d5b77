"""The report of a run, whatever its verdict: a page on disk, and its plots in the Prefect run."""

from __future__ import annotations

from prefect import task
from prefect.artifacts import create_image_artifact, create_markdown_artifact

from quantplay.handoff.contents import RunResults
from quantplay.handoff.markdown import summary_markdown
from quantplay.handoff.plots import all_charts
from quantplay.handoff.report import render_report
from quantplay.handoff.words import headline
from quantplay.records import Recommendation
from tasks.options import PLAY
from tasks.results import Trail, results_of
from tasks.workbench import RunRef, workbench


@task(name="report", **PLAY)
def report(run: RunRef, trail: Trail, outcome: str, advice: tuple[Recommendation, ...] = ()) -> str:
    """Write report.html for what there is; returns its path."""
    results = results_of(run, trail, outcome, advice)
    folder = workbench().settings.home / "reports" / run.run
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / "report.html"
    partial = folder / ".report.html.partial"
    partial.write_text(render_report(results), encoding="utf-8")
    partial.replace(page)
    for name, chart in all_charts(results).items():
        create_image_artifact(chart.data_url(), key=name, description=chart.title)
    create_markdown_artifact(summary_markdown(results), key="summary", description=said(results))
    return str(page)


def said(results: RunResults) -> str:
    """How the run stands, in two sentences: what people read in the list of artifacts."""
    line = headline(results)
    return f"{line.title} {line.next_step}"
