"""README.md of a package: for somebody who has never seen one."""

from __future__ import annotations

from quantplay.gate.sentences import remarks
from quantplay.handoff import layout, words
from quantplay.handoff.contents import PackageContents
from quantplay.handoff.templating import render


def render_readme(contents: PackageContents) -> str:
    """The README as Markdown."""
    purposes = {
        name: text for name, text in layout.PURPOSE.items() if name != f"{layout.SOURCES}/" or contents.carries_sources
    }
    if contents.calibration is None:
        del purposes[layout.CALIBRATION]
    if contents.update is None:
        del purposes[layout.UPDATE]
    for name in ("sensitivity", "mix", "training"):
        if getattr(contents, name) is None:
            del purposes[f"{name}.json"]
    return render(
        "README.md.jinja", c=contents, plan=contents.plan, purposes=purposes, head=words.headline(contents.results()),
        left=words.left_sentence(contents.results()),
        remarks=remarks(contents.decision),
        traffic=contents.inputs.traffic,
    )  # fmt: skip
