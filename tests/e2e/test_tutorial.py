"""The tutorial and the practice of debugging, command by command as the documents show them, in an empty folder."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from benchmarks.playground import Playground, first_lines

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
ITEMS = 300  # a slice: half of what the reader has, and as clear
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)


@dataclass(kw_only=True)
class Reader:
    """Somebody who types what a document shows, and puts in for RUN, NEW and PACKAGE what was printed before."""

    playground: Playground
    folder: Path
    words: dict[str, str] = field(default_factory=dict)
    printed: dict[str, str] = field(default_factory=dict)  # command as written -> its output

    def follow(self, document: str, newest: str) -> None:
        """Type every command of `document`; `newest`: the word that stands for the newest run."""
        for block in BLOCK.findall((ROOT / "docs" / document).read_text(encoding="utf-8")):
            for command in block.replace("\\\n", "").splitlines():
                said = self.type(command)
                if command.endswith("--from-pilot"):
                    split = self.folder / "my-desk" / "evaluation" / "gate.jsonl"
                    first_lines(split, split.with_suffix(".few"), ITEMS, by="slice")
                    split.with_suffix(".few").replace(split)
                if "quantplay run" in command:
                    self.words[newest] = self.runs()[0]["run"][:8]
                if found := re.search(r"^package: (\S+)$", said, re.MULTILINE):
                    self.words["PACKAGE"] = found[1]

    def type(self, command: str) -> str:
        text = re.sub(r"\b(PACKAGE|RUN|NEW)\b", lambda found: self.words[found[0]], command)
        here = self.playground.environment(COLUMNS="160")
        here["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{here['PATH']}"
        done = subprocess.run(["bash", "-c", text], cwd=self.folder, capture_output=True, text=True, env=here, stdin=subprocess.DEVNULL, timeout=1200)  # fmt: skip
        self.printed[command] = done.stdout + done.stderr
        assert done.returncode == 0, f"{text}\n{self.printed[command]}"
        return self.printed[command]

    def runs(self) -> list[dict[str, str]]:
        return json.loads(self.playground.quantplay("show", "--json").stdout)["runs"]

    def output(self, start: str) -> str:
        (found,) = [said for command, said in self.printed.items() if command.startswith(start)]
        return found


@pytest.fixture(scope="module")
def reader(playground: Playground, tmp_path_factory: pytest.TempPathFactory) -> Reader:
    folder = tmp_path_factory.mktemp("reader")
    (folder / "examples").symlink_to(ROOT / "examples")
    reader = Reader(playground=playground, folder=folder)
    reader.follow("tutorial.md", newest="RUN")
    return reader


def test_the_tutorial_ends_with_a_package_and_a_no(reader: Reader) -> None:
    assert "locked (exit code 0)" in reader.output("quantplay run my-desk/plan.yaml")
    assert "The same bytes." in reader.output("quantplay replay")
    assert "my-desk" in reader.output("quantplay registry show")
    assert "exit code 12" in reader.output("quantplay run my-desk/two-bits.yaml")
    answers = reader.output("quantplay show RUN --answers 6")
    assert answers.count("full precision: ") == answers.count("quantized: ") == 6
    refused = reader.output("quantplay check my-desk/spoiled.yaml")
    assert "exit code 2" in refused
    assert f"spoiled.jsonl:{5 * ITEMS + 1}" in refused


def test_the_practice_finds_what_was_seeded(reader: Reader) -> None:
    reader.words["RUN"] = next(
        run["run"][:8] for run in reader.runs() if (run["name"], run["outcome"]) == ("my-desk", "locked")
    )
    reader.follow("debugging.md", newest="NEW")
    told = reader.output("quantplay run --update-of")
    assert "exit code 12" in told
    assert "Then and now" in told
    closer = reader.output("sed -e 's/^name: .*/name: look-closer/'") + reader.output(
        "quantplay run my-desk/closer.yaml"
    )
    assert "exit code 17" in closer
    first = re.search(r"^ (blk\S+|\S+) +[\d,]+ +\d", closer[closer.index("Sensitivity: the worst") :], re.MULTILINE)
    seeded = subprocess.run([sys.executable, ROOT / "examples/pilot/regression.py", "x", "--answer"], capture_output=True, text=True, check=True)  # fmt: skip
    assert seeded.stdout.strip() == "model.layers.2.mlp.down_proj"
    assert first is not None
    assert first[1] == "blk.2.down"
