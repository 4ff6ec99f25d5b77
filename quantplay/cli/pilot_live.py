"""`quantplay pilot --live`: the pilot's package under traffic, a damaged model swapped in, the judge that takes it back, a picture."""

from __future__ import annotations

import json as json_library
import signal
import sys
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from quantplay.errors import InputError, IntegrityError, InternalError

if TYPE_CHECKING:
    from quantplay.live.release_check import Facts
    from quantplay.live.show.story import Story
    from quantplay.plan import Plan
    from quantplay.settings import Settings
    from quantplay.store.registry import Store
    from quantplay.store.revalidations import LockedPackage

NOT_TAKEN_BACK = 1  # exit code: the judge had too little traffic to see the damage


def command(name: str, live: bool, picture: Path | None, json: bool) -> int:
    from quantplay.cli.gateway import require_gateway
    from quantplay.cli.pilot import find_plan, make_people, run_pilot
    from quantplay.cli.render_live import LiveView
    from quantplay.harness.server_command import require_runtime
    from quantplay.live.show.show import Cast, Show
    from quantplay.plan_file import read_plan
    from quantplay.settings import settings
    from quantplay.store.registry import open_store

    if not live:
        raise InputError("--picture belongs to --live", value=picture, fix="quantplay pilot --live --picture FILE")
    require_gateway()
    require_runtime("llama.cpp-server")
    plan_file = find_plan(name)
    plan = read_plan(plan_file)
    owners = make_people(plan) / "owners.yaml"
    here = settings()
    target = picture or here.home / "live" / f"{datetime.now(UTC):%Y%m%d-%H%M%S}.png"
    require_writable(target)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that blocks end as with Ctrl-C
    view = LiveView()
    with ExitStack() as stack:
        store = stack.enter_context(open_store(here, view.say))
        if newest(store, plan.name) is None:
            view.say("No locked package of the pilot is here, so the pilot runs first, once; it takes some minutes.")
            records, _ = run_pilot(name)
            if records.run.outcome != "locked":
                raise InternalError("the pilot did not end locked", value=records.run.outcome, fix="quantplay pilot")
        locked = newest(store, plan.name)
        assert locked is not None
        facts = checked(locked, owners)
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="quantplay-models-")))
        cast = Cast(
            facts=facts,
            quantized=file_of(store, facts.artifact, folder),
            full_precision=file_of(store, facts.full_precision, folder),
            items=items_of(plan, plan_file),
            max_tokens=plan.decoding.max_tokens,
            stop=plan.decoding.stop,
        )
        with view:
            story = Show(store=store, cast=cast, say=view.say, watch=view.watch).play()
    return told(story, facts, here, target, json)


def require_writable(target: Path) -> None:
    """Before minutes of traffic."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError("the picture can't be written there", value=f"{target}: {error.strerror}") from None
    if target.is_dir():
        raise InputError("the picture can't be written there", value=target, allowed="a file's name, such as live.png")


def newest(store: Store, name: str) -> LockedPackage | None:
    """The newest locked package of the plan of this name that is still on this machine."""
    found = (one for one in store.locked_packages() if one.name == name and Path(one.package.path).is_dir())
    return next(found, None)


def checked(locked: LockedPackage, owners: Path) -> Facts:
    """What `quantplay release` asks of a package. Raises IntegrityError where it may not serve."""
    from quantplay.live.release_check import check_release

    found = check_release(Path(locked.package.path), owners=owners, internal=locked.profile == "internal")
    if not found.ok or found.facts is None:
        wrong = next(line for line in found.lines if not line.ok)
        raise IntegrityError(
            f"the pilot's package may not be released: {wrong.name}", value=wrong.said,
            fix=f"`quantplay release-check {locked.package.path}` tells everything",
        )  # fmt: skip
    return found.facts


def file_of(store: Store, sha256: str, folder: Path) -> Path:
    """A local copy of an artifact, as llama.cpp wants it named."""
    return store.artifacts.get(sha256, folder / f"{sha256}.gguf")


def items_of(plan: Plan, plan_file: Path) -> Any:
    """The split that may be looked at."""
    from quantplay.evalset import read_items

    return read_items(plan_file.parent / plan.evaluation.dev)


def told(story: Story, facts: Facts, here: Settings, target: Path, json: bool) -> int:
    """The picture and the closing words; the exit code."""
    from quantplay.cli.render_live import body, closing, title
    from quantplay.live.show.picture import draw

    told = story.telling()
    if told is not None:
        draw(story, told, title(story), target)
    if json:
        print(json_library.dumps(body(story, facts, target), indent=2))
    else:
        from quantplay.cli.console import console

        for line in closing(story, target):
            console().print(line, markup=False)
    good = story.rollback is not None and story.mark("swap") is not None and story.tally.failed == 0
    return 0 if good else NOT_TAKEN_BACK
