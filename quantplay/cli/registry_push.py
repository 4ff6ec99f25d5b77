"""`quantplay registry push PACKAGE --mlflow URI`: a locked package as a version of a model in an MLflow registry."""

from __future__ import annotations

import json as json_library
import os
from typing import TYPE_CHECKING, Any

from quantplay.errors import InputError, IntegrityError, MissingDependency, ServiceUnavailable

if TYPE_CHECKING:
    from quantplay.store.catalogue import Entry

PACKAGE_TAG = "quantplay.package"
"""By this tag a version that was pushed before is found again."""


def command(package: str, mlflow: str, name: str | None = None, json: bool = False) -> int:
    from quantplay.cli.console import console
    from quantplay.settings import settings
    from quantplay.store.registry import open_store

    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # MLflow reads it when it is imported
    os.environ.setdefault(
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2"
    )  # seven would take minutes until it says that nobody answers
    try:
        from mlflow import MlflowClient  # pyright: ignore[reportMissingImports] - of the extra `mlflow`
        from mlflow.exceptions import MlflowException  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise MissingDependency(
            "pushing to MLflow needs its client", value=str(error), fix="pip install 'quantplay[mlflow]'"
        ) from error

    with open_store(settings()) as store:
        entry = store.package_named(package)
        if entry.incident is not None or (entry.newest is not None and entry.newest.status == "regressed"):
            raise IntegrityError(
                "this package got worse since it was locked and is not handed on", value=entry.key[:12],
                fix="`quantplay registry show` says why; close its incident and measure it again",
            )  # fmt: skip
        try:
            client = MlflowClient(tracking_uri=mlflow, registry_uri=mlflow)
            model, version, new = pushed(client, entry, name or entry.name)
        except MlflowException as error:
            raise refused(mlflow, error) from error
        if new:
            body = {"registry": shown(mlflow), "model": model, "version": version}
            store.append_event("quantplay", "package.pushed", entry.key, body)
    if json:
        print(json_library.dumps({"model": model, "version": version, "new": new}))
    else:
        there = "is there already as" if not new else "is now"
        console().print(f"package {entry.key[:12]} {there} {model}, version {version}", markup=False)
    return 0


def pushed(client: Any, entry: Entry, name: str) -> tuple[str, str, bool]:
    """(model, version, whether it is new). Files stay where they are: the version names the package and its digests.

    MLflow accepts no folder of this machine as the source of a version; the path is a tag.
    """
    from mlflow.exceptions import MlflowException  # pyright: ignore[reportMissingImports]

    try:
        client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        client.create_registered_model(name, description=entry.use_case)
    for there in client.search_model_versions(f"name = '{name}'"):
        if there.tags.get(PACKAGE_TAG) == entry.key:
            return name, str(there.version), False
    made = client.create_model_version(
        name, source=f"quantplay:/packages/{entry.key}", tags=tags_of(entry), description=description(entry)
    )
    return name, str(made.version), True


def tags_of(entry: Entry) -> dict[str, str]:
    given = {
        PACKAGE_TAG: entry.key, "quantplay.manifest": entry.manifest, "quantplay.run": entry.run, "quantplay.path": entry.path, "base_model": entry.source,
        "base_model_relation": "quantized", "base_model_digest": entry.base, "format": entry.format, "type": entry.type,
        "sha256": entry.sha256, "runtime": entry.runtime, "verdict": entry.verdict, "size_bytes": entry.size_bytes,
        "bits_per_weight": entry.bits_per_weight, "profile": entry.profile, "owner": entry.owner,
    }  # fmt: skip
    drops = {f"drop.{one.slice}"[:200]: f"{one.drop:.4g} {one.unit}" for one in entry.drops}
    return {name: str(value) for name, value in (given | drops).items() if value is not None}


def description(entry: Entry) -> str:
    return f"{entry.use_case}\n\n{entry.type}, locked by quantplay on {entry.locked_at:%Y-%m-%d}; `quantplay verify` checks it."


def shown(uri: str) -> str:
    """An address without user and password."""
    scheme, there, rest = uri.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}" if there else uri


def refused(uri: str, error: Any) -> InputError | ServiceUnavailable:
    what = next(iter(str(error).splitlines()), "")
    if error.error_code in ("INVALID_PARAMETER_VALUE", "RESOURCE_ALREADY_EXISTS", "PERMISSION_DENIED"):
        return InputError("the MLflow registry refuses this package", value=what, fix="--name gives it another name")
    return ServiceUnavailable(
        f"the MLflow registry does not answer as it should: {what}",
        value=shown(uri),
        fix="see that its server runs, then again",
    )
