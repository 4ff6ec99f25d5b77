"""`quantplay evaluate MODEL TASKS`: the shared harness by itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from quantplay.errors import InputError


def command(
    model: Path,
    tasks: Sequence[Path],
    runtime: str | None,
    batch: int,
    max_tokens: int,
    context_tokens: int,
    speed: bool,
    allow_code: Sequence[str],
    stop: Sequence[str] = (),
    tokenizer: Path | None = None,
    json: bool = False,
) -> int:
    from quantplay.cli.console import RunView, console, errors_console
    from quantplay.plan import Decoding
    from quantplay.plays.alone import Runtime, measure_alone
    from quantplay.settings import settings

    if runtime not in (None, *get_args(Runtime)):
        raise InputError("unknown runtime", value=runtime, allowed=", ".join(get_args(Runtime)))
    asked: Any = runtime
    ends = tuple(text.replace("\\n", "\n").replace("\\t", "\t") for text in stop)
    decoding = Decoding(max_tokens=max_tokens, stop=ends) if ends else Decoding(max_tokens=max_tokens)
    with RunView(errors_console()) as view:
        report = measure_alone(
            model, tasks, runtime=asked, batch=batch, decoding=decoding, speed=speed,
            context_tokens=context_tokens, threads=settings().threads, allow_code=allow_code, tokenizer=tokenizer,
            on_progress=view.report("evaluate"),
        )  # fmt: skip
    if json:
        print(report.model_dump_json(indent=2))
    else:
        from quantplay.cli.render_alone import alone_view

        console().print(alone_view(report))
    return 0
