"""`quantplay release PACKAGE --endpoint NAME`: the package's model beside full precision, for a share of conversations."""

from __future__ import annotations

import getpass
import json as json_library
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

from quantplay.errors import InputError, IntegrityError, QuantplayError, ServiceUnavailable

if TYPE_CHECKING:
    from quantplay.records.traffic import ServedArm
    from quantplay.store.registry import Store

LONGEST_LIST = 1 << 20  # bytes of a server's list of models


def command(
    package: Path, endpoint: str, full_precision: str, quantized: str, weight: float = 5, steps: str = "5,25,50,100",
    owners: Path | None = None, manifest: str | None = None, internal: bool = False, reason: str = "released", json: bool = False,
) -> int:  # fmt: skip
    from quantplay.cli import release_check as check_command
    from quantplay.cli.console import console
    from quantplay.live.release import release, revision_of
    from quantplay.live.release_check import check_release
    from quantplay.settings import settings
    from quantplay.store.registry import open_store

    shares, package = read_steps(steps), folder_of(package)
    found = check_release(package, owners=owners or check_command.known_owners(), manifest=manifest, internal=internal)
    if not found.ok or found.facts is None:
        if json:
            print(json_library.dumps(check_command.body(found), indent=2))
        else:
            for part in check_command.parts(found):
                console().print(part)
        return IntegrityError.exit_code
    policy = revision_of(
        found.facts, endpoint, full_precision=arm(full_precision, found.facts.full_precision),
        quantized=arm(quantized, found.facts.artifact), steps=shares,
    )  # fmt: skip
    with open_store(settings()) as store:
        number, version = release(store, policy, weight=weight / 100, actor=getpass.getuser(), reason=reason)
        known = calibration_known(store, package, found.facts.manifest)
    if json:
        told = {
            "endpoint": endpoint,
            "revision": number,
            "version": version,
            "weight": weight / 100,
            "calibration_known": known,
        }
        print(json_library.dumps(told))
    else:
        console().print(
            f"{endpoint}: revision {number} is a canary, {weight:g} % of conversations go to {found.facts.type}. "
            f"Back with: quantplay rollback {endpoint}"
        )
        if not known:
            console().print(
                "Its calibration set was not found here, so drift is looked for against the first days of traffic alone."
            )
    return 0


def folder_of(package: Path) -> Path:
    """A path as it is; where nothing lies there and an alias has this name, the folder of its package.

    Raises InputError on an imported artifact that no run has validated.
    """
    from quantplay.settings import settings
    from quantplay.store.aliases import NAME
    from quantplay.store.registry import open_store

    name = str(package)
    if package.exists():
        return package
    with open_store(settings()) as store:
        newest = next(iter(store.alias_history(name)), None) if NAME.fullmatch(name) else None
        if newest is not None:
            return Path(store.package_named(newest.package).path)
        imported = store.find_import(name)
        validated = (
            store.package_named(imported.package) if imported is not None and imported.package is not None else None
        )
    if imported is not None:
        raise InputError(
            "an imported artifact is no package, and only a package can be released", value=f"{imported.told.name}: {imported.why}",
            allowed="a package's folder or .tar, or its alias",
            fix=f"name its package: {validated.path}" if validated is not None
            else f"write `imported: {imported.key}` into a plan, and `quantplay run` it",
        )  # fmt: skip
    return package


def calibration_known(store: Store, package: Path, manifest: str) -> bool:
    """Keep the fingerprint of the package's calibration set, for drift. A release does not fail where that can't be done."""
    from quantplay.handoff.verify import package_folder
    from quantplay.live.drift.calibration import calibration_fingerprint

    try:
        with package_folder(package) as folder:
            return calibration_fingerprint(store, manifest, folder) is not None
    except QuantplayError:
        return False


def read_steps(text: str) -> tuple[float, ...]:
    """Percentages, separated by commas, as shares."""
    try:
        found = tuple(float(part) / 100 for part in text.split(","))
    except ValueError:
        found = ()
    if not found or not all(0 < share <= 1 for share in found):
        raise InputError(
            "--steps holds no percentages", value=text, allowed="numbers above 0 up to 100, such as 5,25,50,100"
        )
    return found


def arm(address: str, artifact: str) -> ServedArm:
    """The arm at an address `URL` or `URL#MODEL`; the one model the server lists where none is named."""
    from pydantic import ValidationError

    from quantplay.records.traffic import ServedArm

    url, _, model = address.partition("#")
    url = url.rstrip("/")
    try:
        ServedArm(url=url, model="any", artifact=artifact)
    except ValidationError as error:
        raise InputError(
            "this is no address of an OpenAI-compatible server", value=address, allowed="http://HOST:PORT/v1, or http://HOST:PORT/v1#MODEL"
        ) from error  # fmt: skip
    return ServedArm(url=url, model=listed(url, model), artifact=artifact)


def listed(url: str, model: str) -> str:
    """`model`, or the only one there is, once the server at `url` says that it serves it."""
    try:
        with urllib.request.urlopen(f"{url}/models", timeout=10) as answer:  # noqa: S310 - http and https alone reach this line
            names = [str(entry["id"]) for entry in json_library.loads(answer.read(LONGEST_LIST))["data"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ServiceUnavailable(
            "the server does not say which models it serves",
            value=f"{url}/models: {error}",
            fix="start it, then release again",
        ) from error
    if model and model not in names:
        raise InputError("the server does not serve this model", value=model, allowed=", ".join(names) or "none")
    if not model and len(names) != 1:
        raise InputError("the server serves several models", value=", ".join(names), fix=f"name one: {url}#MODEL")
    return model or names[0]
