"""Whole runs through the command line in a home of their own, over a few items of the pilot: for benchmarks and end-to-end tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from quantplay.settings import settings

PILOT = Path(__file__).parents[1] / "examples" / "pilot"
ITEMS = 20  # a slice: enough to go through every step, far too few to tell anything


@dataclass(frozen=True, kw_only=True)
class Playground:
    """A home, and plans over a few items of the pilot."""

    home: Path
    folder: Path

    def quantplay(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "quantplay.cli", *arguments],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            env=self.environment(**environment),
            timeout=900,
        )

    def environment(self, **more: str) -> dict[str, str]:
        cleaned = {key: value for key, value in os.environ.items() if not key.startswith(("PREFECT_", "QUANTPLAY_"))}
        return {
            **cleaned,
            "QUANTPLAY_HOME": str(self.home),
            "QUANTPLAY_CACHE": str(settings().cache),
            "QUANTPLAY_THREADS": "2",
            **more,
        }

    def run(self, plan: Path) -> tuple[int, dict[str, Any]]:
        """Exit code and JSON of `quantplay run --json`."""
        done = self.quantplay("run", str(plan), "--json")
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)

    def plan(self, name: str, **changes: Any) -> Path:
        """The pilot's plan over the small sets, with tolerances that fit 20 items; `changes` by dotted path."""
        body = yaml.safe_load((PILOT / "plan-pass.yaml").read_text(encoding="utf-8"))
        tolerance = {"max_drop": 60.0, "broken_drop": 90.0}
        body |= {"name": name, "profile": "internal", "model": {"source": str(PILOT / "model")}}
        body["calibration"] = {"file": "calibration.jsonl", "samples": 16, "tokens": 256}
        body["evaluation"] |= {"gate": "gate.jsonl", "dev": "dev.jsonl", "heldout": "heldout.jsonl"}
        body["gate"]["slices"] = {slice_: dict(tolerance) for slice_ in body["gate"]["slices"]}
        body["gate"]["hardest"] = {"share": 0.1, "max_loss_rise": 8.0, "broken_loss_rise": 9.0} | tolerance
        body["deviations"] = [{"rule": "calibration.count", "reason": "Enough to go through every step, and fast."}]
        for path, value in changes.items():
            part = body
            *parents, last = path.split("__")
            for parent in parents:
                part = part[parent]
            part[last] = value
        plan = self.folder / f"{name}.yaml"
        plan.write_text(yaml.safe_dump(body, sort_keys=False), encoding="utf-8")
        return plan


def first_lines(source: Path, target: Path, count: int, by: str | None = None) -> None:
    taken: dict[str, int] = {}
    kept = []
    for line in source.read_text(encoding="utf-8").splitlines(keepends=True):
        group = json.loads(line)[by] if by else ""
        taken[group] = taken.get(group, 0) + 1
        if taken[group] <= count:
            kept.append(line)
    target.write_text("".join(kept), encoding="utf-8")


def make_playground(top: Path) -> Playground:
    """Copy a few items of every pilot file below `top`."""
    here = Playground(home=top / "home", folder=top / "plans with spaces")
    here.folder.mkdir()
    first_lines(PILOT / "evaluation" / "gate.jsonl", here.folder / "gate.jsonl", ITEMS, by="slice")
    first_lines(PILOT / "evaluation" / "dev.jsonl", here.folder / "dev.jsonl", 4, by="slice")
    first_lines(PILOT / "calibration" / "traffic.jsonl", here.folder / "calibration.jsonl", 16)
    first_lines(PILOT / "heldout" / "text.jsonl", here.folder / "heldout.jsonl", 16)
    return here
