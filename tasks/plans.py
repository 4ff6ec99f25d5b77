"""Where a plan comes from: a file on this machine, or an address (s3:// and the like) from which it is fetched with all it names.

What is fetched lies in `plans/` below quantplay's home, in a folder named by what it holds: present whole or not at all, and
found again by the next run, the next attempt and the resumed run. Its bytes are pinned afterwards like those of any plan.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from tempfile import mkdtemp
from urllib.parse import unquote, urlsplit

from quantplay.address import redacted
from quantplay.digest import digest_of
from quantplay.errors import Fault, InputError, PlanError
from quantplay.plan import Plan
from quantplay.plan_file import read_plan
from quantplay.plan_file.yaml_tree import MAX_BYTES
from quantplay.settings import settings
from tasks.remote import Remote

PLAN_FILE = "plan.yaml"
ADDRESS = re.compile(r"[a-z][a-z0-9+.:-]*://", re.IGNORECASE)
LOCAL = ("file", "local")
LEFTOVER_SECONDS = 24 * 3600


def is_address(plan: str) -> bool:
    """Whether `plan` must be fetched: an address of something that is no folder of this machine."""
    return ADDRESS.match(plan) is not None and plan.partition("://")[0].lower() not in LOCAL


def local_plan(plan: str) -> Path:
    """Path of the plan file on this machine, beside which everything it names is found.

    Raises InputError or PlanError with every fault, ServiceUnavailable where the other side does not answer.
    """
    if not is_address(plan):
        return local_path(plan)
    address, _, name = plan.rpartition("/")
    remote = Remote(address, plan)
    with new_folder() as partial:
        file = partial / PLAN_FILE
        remote.get(name, file, limit_bytes=MAX_BYTES)
        try:
            read = read_plan(file)
        except PlanError as error:
            faults = [replace(fault, where=fault.where.replace(str(file), plan)) for fault in error.faults]
            raise PlanError(f"{plan} is not a plan that can be run", faults=faults, fix="mend it there") from error
        return gathered(read, partial, remote)


def plan_beside(text: str, plan: Plan, folder: str) -> Path:
    """Write `text`, the file of `plan`, so that the names in it are found as if it lay in `folder`, a path or an address."""
    with new_folder() as partial:
        (partial / PLAN_FILE).write_text(text, encoding="utf-8")
        if is_address(folder):
            return gathered(plan, partial, Remote(folder, folder))
        return linked(plan, partial, local_path(folder))


def local_path(plan: str) -> Path:
    """A path, or the path in a file:// address."""
    if ADDRESS.match(plan):
        parts = urlsplit(plan)
        if parts.netloc not in ("", "localhost"):
            raise InputError(
                "a file:// address names another machine", value=redacted(plan), allowed="three slashes: file:///folder/plan.yaml",
                fix="write the path on the worker, or an address such as s3://bucket/plan.yaml",
            )  # fmt: skip
        plan = unquote(parts.path)
    return Path(plan).expanduser().absolute()


def names_in(plan: Plan) -> dict[str, str]:
    """Field of the plan -> the file or folder it names, relative to the plan; a hub model names none."""
    names = {
        "calibration.file": plan.calibration.file,
        "evaluation.gate": plan.evaluation.gate,
        "evaluation.dev": plan.evaluation.dev,
        "evaluation.heldout": plan.evaluation.heldout,
        **{f"evaluation.tasks[{number}]": task for number, task in enumerate(plan.evaluation.tasks, start=1)},
    }
    if plan.calibration.traffic is not None:
        names["calibration.traffic"] = plan.calibration.traffic
    if plan.training is not None:
        names["training.file"] = plan.training.file
    if plan.model.commit is None:
        names["model.source"] = plan.model.source
    return names


def leaves(name: str) -> bool:
    """Whether a name leads out of the folder it is relative to, or could."""
    path = PurePosixPath(name)
    return path.is_absolute() or name.startswith("~") or "\\" in name or ".." in path.parts or not path.parts


def gathered(plan: Plan, partial: Path, remote: Remote) -> Path:
    """Fetch what `plan` names beside the plan file in `partial`, and keep it."""
    faults = [
        Fault(
            where=field, what="leads out of the plan's folder, and everything a fetched plan names is fetched from there",
            value=name, allowed="names below the plan's folder, without ..", fix="put it beside the plan, at its address",
        )
        for field, name in names_in(plan).items()
        if leaves(name)
    ]  # fmt: skip
    faults += [
        Fault(
            where=f"evaluation.tasks[{number}]", what="lies beside the plan, and the folder of a task file is fetched whole",
            value=task, allowed="a task file in a folder of its own, such as tasks/orders.yaml",
        )
        for number, task in enumerate(plan.evaluation.tasks, start=1)
        if len(PurePosixPath(task).parts) < 2
    ]  # fmt: skip
    if faults:
        raise PlanError(f"a plan at {remote.shown} can't name this", faults=faults)
    wanted = remote.files(
        [name for field, name in names_in(plan).items() if not field.startswith(("model.", "evaluation.tasks"))],
        shallow=[plan.model.source] if plan.model.commit is None else [],
        deep=sorted({str(PurePosixPath(task).parent) for task in plan.evaluation.tasks}),
    )
    text = (partial / PLAN_FILE).read_text(encoding="utf-8")
    marks = [[file.name, file.size_bytes, file.mark] for file in wanted]
    # A file system that marks nothing says nothing about what changed: there every run fetches anew.
    anew = None if all(file.mark for file in wanted) else partial.name
    target = home_of({"at": remote.address, "text": text, "files": marks, "anew": anew})
    if target.is_dir():
        os.utime(target)  # it is in use: `quantplay artifacts prune` removes what nobody used for long
    else:
        remote.get_all(wanted, partial)
    return kept(partial, target)


def linked(plan: Plan, partial: Path, folder: Path) -> Path:
    """Let the names in `plan` lead into `folder`, which is on this machine, and keep that."""
    names = [name for name in names_in(plan).values() if not name.startswith(("/", "~"))]
    faults = [
        Fault(where=str(folder), what="a name leads out of the folder", value=name, allowed="a name below it, or a whole path")
        for name in names
        if leaves(name) or PurePosixPath(name).parts[0] == PLAN_FILE
    ]  # fmt: skip
    if faults:
        raise InputError("the plan names what is not in its folder", faults=faults)
    for first in sorted({PurePosixPath(name).parts[0] for name in names}):
        (partial / first).symlink_to(folder / first)
    text = (partial / PLAN_FILE).read_text(encoding="utf-8")
    return kept(partial, home_of({"at": str(folder), "text": text}))


# --- the folders ------------------------------------------------------------------------------------------------------


def plans_folder() -> Path:
    return settings().home / "plans"


def home_of(what: dict[str, object]) -> Path:
    return plans_folder() / digest_of(what)[:32]


@contextlib.contextmanager
def new_folder() -> Iterator[Path]:
    """An empty folder beside the kept ones, gone afterwards unless it was kept."""
    top = plans_folder()
    try:
        top.mkdir(parents=True, exist_ok=True)
        drop_leftovers(top)
        partial = Path(mkdtemp(prefix=".partial-", dir=top))
    except OSError as error:
        raise InputError(
            "the folder for fetched plans can't be written", value=f"{top}: {error.strerror}",
            fix="set QUANTPLAY_HOME to a folder this user may write to, on a disk with space",
        ) from error  # fmt: skip
    try:
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def kept(partial: Path, target: Path) -> Path:
    """Make `partial` the folder `target`, unless another process did so first; the plan file in it."""
    partial.chmod(0o755)
    try:
        partial.rename(target)
    except OSError:
        if not target.is_dir():
            raise
        os.utime(target)
    return target / PLAN_FILE


def drop_leftovers(top: Path) -> None:
    """Remove what a killed process left half-fetched a day ago or earlier."""
    limit = time.time() - LEFTOVER_SECONDS
    for path in top.glob(".partial-*"):
        with contextlib.suppress(OSError):
            if path.stat().st_mtime < limit:
                shutil.rmtree(path)
