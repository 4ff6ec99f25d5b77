"""`quantplay standards check [FILE]`: every fault of a standards file."""

from __future__ import annotations

import json as json_library
from dataclasses import asdict
from pathlib import Path

from quantplay.errors import InputError


def command(file: Path | None = None, json: bool = False) -> int:
    from quantplay.standards import load_standards

    found = load_standards(named(file))
    whole = found.standards
    if json:
        body = {
            "path": str(found.path), "good": whole is not None, "faults": [asdict(fault) for fault in found.faults],
            "version": whole.version if whole else None, "digest": whole.digest() if whole else None,
        }  # fmt: skip
        print(json_library.dumps(body, indent=2))
    else:
        from quantplay.cli.console import console
        from quantplay.cli.render_faults import faults_view

        if whole is not None:
            console().print(f"{found.path} can be used: {whole.title}, version {whole.version}", markup=False)
            console().print(f"digest {whole.digest()}", markup=False)
        else:
            number = len(found.faults)
            for part in faults_view(found.faults, f"{number} fault{'s' if number > 1 else ''}", "red"):
                console().print(part)
    return 0 if whole is not None else InputError.exit_code


def named(file: Path | None) -> Path:
    """The file to look at. Raises InputError where neither the command nor the environment names one."""
    from quantplay.settings import settings

    path = file or settings().standards
    if path is None:
        raise InputError(
            "no standards file is named", allowed="a FILE, or QUANTPLAY_STANDARDS",
            fix="deployments/standards.yaml is an example to start from; docs/standards.md says how",
        )  # fmt: skip
    return path
