"""The hand-off: report, model card and package of a run, and the check of a package somebody got.

contents.py   what goes in          pack.py    write a package        verify.py   check one, offline
report.py     report.html           card.py    MODEL_CARD.md          markdown.py the same for Markdown pages
replay.py     make the artifact again   apart.py   verify in a child of bounded memory, for packages nobody vouches for
"""

from quantplay.handoff.charts import Chart
from quantplay.handoff.contents import (
    Attempt,
    PackageContents,
    Question,
    RunResults,
    installed_distributions,
    read_questions,
    source_files,
)
from quantplay.handoff.markdown import baseline_markdown, envelope_markdown, gate_markdown, summary_markdown
from quantplay.handoff.pack import write_package
from quantplay.handoff.plots import all_charts
from quantplay.handoff.report import render_report
from quantplay.handoff.summaries import summary_of_baseline
from quantplay.handoff.verify import VerifyReport, verify

__all__ = [
    "Attempt",
    "Chart",
    "PackageContents",
    "Question",
    "RunResults",
    "VerifyReport",
    "all_charts",
    "baseline_markdown",
    "envelope_markdown",
    "gate_markdown",
    "installed_distributions",
    "read_questions",
    "render_report",
    "source_files",
    "summary_markdown",
    "summary_of_baseline",
    "verify",
    "write_package",
]
