"""Where a manifest goes: into a folder that something else applies (GitOps), to `kubectl apply`, or to standard output."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from quantplay.engines.whole_file import written_whole
from quantplay.errors import MissingDependency, ServiceUnavailable

KUBECTL_SECONDS = 30


class Output(Protocol):
    def put(self, name: str, text: str) -> str:
        """Deliver the manifest `name`; where it went. Raises ServiceUnavailable."""
        ...


@dataclass(frozen=True, kw_only=True)
class FolderOutput:
    """NAME.yaml in a folder, whole or not at all; one that says the same already is not touched."""

    folder: Path

    def put(self, name: str, text: str) -> str:
        path = self.folder / f"{name}.yaml"
        try:
            if path.read_text(encoding="utf-8") == text:
                return f"{path} says so already"
        except (OSError, UnicodeDecodeError):
            pass
        try:
            with written_whole(path) as partial:
                partial.write_text(text, encoding="utf-8")
        except OSError as error:
            raise ServiceUnavailable(f"can't write {path}", value=error.strerror) from None
        return f"written to {path}"


@dataclass(frozen=True, kw_only=True)
class KubectlOutput:
    """The cluster that kubectl is set up for."""

    program: str = "kubectl"

    def put(self, name: str, text: str) -> str:
        try:
            done = subprocess.run(
                [self.program, "apply", "--filename", "-"], input=text, capture_output=True, text=True,
                timeout=KUBECTL_SECONDS, check=False,
            )  # fmt: skip
        except FileNotFoundError:
            raise MissingDependency(
                f"there is no program {self.program}", fix="install it, or name a folder with --out"
            ) from None
        except subprocess.TimeoutExpired:
            raise ServiceUnavailable(f"kubectl did not end within {KUBECTL_SECONDS} s", value=name) from None
        if done.returncode:
            raise ServiceUnavailable(
                "kubectl could not apply the route", value=done.stderr.strip() or f"exit code {done.returncode}"
            )
        return done.stdout.strip()


@dataclass(frozen=True, kw_only=True)
class TextOutput:
    """For people to read, and for pipes."""

    write: Callable[[str], object] = print

    def put(self, name: str, text: str) -> str:
        self.write(f"---\n{text}")
        return "printed"
