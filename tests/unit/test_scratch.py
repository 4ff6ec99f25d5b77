"""A scratch folder lives as long as its process, and its leftovers as long as nobody else comes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from quantplay.engines.scratch import claim_scratch

HOLD = """
import sys; from pathlib import Path
from quantplay.engines.scratch import claim_scratch
folder = claim_scratch(Path(sys.argv[1])); (folder / "half-written").write_text("x"); print(folder, flush=True); sys.stdin.read()
"""


def test_a_killed_process_leaves_nothing_for_long(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        theirs = Path(other.stdout.readline().strip())
        mine = claim_scratch(tmp_path)
        assert mine != theirs
        assert (theirs / "half-written").exists(), "a living process keeps its folder"
        other.kill()
    again = claim_scratch(tmp_path)
    assert not theirs.exists()
    assert mine.exists()
    assert {path for path in tmp_path.iterdir() if path.is_dir()} == {mine, again}
