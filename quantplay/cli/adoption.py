"""`quantplay adoption`: how much of what is served comes from validated quantized models, and what that took and saved."""

from __future__ import annotations

import json as json_library
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from quantplay.cli.days import read_day
from quantplay.errors import InputError

if TYPE_CHECKING:
    from quantplay.adoption import Adoption


def command(
    since: str | None = None,
    volume: str | None = None,
    picture: Path | None = None,
    html: Path | None = None,
    json: bool = False,
) -> int:
    from quantplay.adoption import adoption, read_source
    from quantplay.settings import settings
    from quantplay.store.registry import open_store

    now = datetime.now(UTC)
    source = read_source(volume, None if since is None else read_day(since, "--since", "2026-10-01"), now)
    with open_store(settings()) as store:
        found = adoption(store, source, now)
    if picture is not None:
        write_picture(found, picture)
    if html is not None:
        write_page(found, html)
    if json:
        print(json_library.dumps(found.body(), indent=2))
    else:
        from quantplay.cli.console import console
        from quantplay.cli.render_adoption import adoption_parts

        for part in adoption_parts(found, console().width):
            console().print(part)
    return 0


def write_picture(found: Adoption, path: Path) -> None:
    """The chart as SVG, whole or not at all."""
    from quantplay.adoption.chart import volume_chart

    chart = volume_chart(found)
    if chart is None:
        raise InputError("there is no volume to draw", value=found.source_words, fix="ask without --picture")
    write_whole(path, chart.image())


def write_page(found: Adoption, path: Path) -> None:
    from quantplay.adoption.page import adoption_page

    write_whole(path, adoption_page(found))


def write_whole(path: Path, text: str) -> None:
    from quantplay.engines.whole_file import written_whole

    with written_whole(path) as partial:
        partial.write_text(text, encoding="utf-8")
