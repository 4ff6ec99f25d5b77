"""An artifact that llama.cpp's own quantizer made elsewhere: imported, judged as it is, locked, verified, and not made again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.playground import PILOT, Playground
from quantplay.digest import digest_of_file
from quantplay.engines.converter import convert, ensure_converter
from quantplay.engines.llama_quantize import quantize_file
from quantplay.formats import TYPES
from quantplay.settings import settings

pytestmark = pytest.mark.slow


def theirs(folder: Path) -> Path:
    """Q5_0: of another type than the other runs of this home make."""
    full, out, ftype = folder / "full.gguf", folder / "theirs.gguf", TYPES["Q5_0"].ftype
    assert ftype is not None
    convert(ensure_converter(settings().cache), PILOT / "model", full)
    quantize_file(full, out, ftype=ftype, threads=1)
    return out


def test_an_imported_file_becomes_a_locked_package_of_its_very_bytes(playground: Playground, tmp_path: Path) -> None:
    file = theirs(tmp_path)
    told = json.loads(playground.quantplay("import", str(file), "--base", str(PILOT / "model"), "--json").stdout)
    assert (told["status"], told["sha256"]) == ("unvalidated", digest_of_file(file))
    refused = playground.quantplay("release-check", str(file))
    assert refused.returncode == 2
    assert "a model and no package" in refused.stderr

    code, run = playground.run(playground.plan("imported", imported=told["sha256"], envelope__types=["Q5_0"]))
    assert code == 0, run
    folder = Path(run["package"]["path"])
    artifact = json.loads((folder / "artifact.json").read_text())
    served = folder / "artifact" / artifact["file_name"]
    assert served.read_bytes() == file.read_bytes()
    verified = playground.quantplay("verify", str(folder))
    assert verified.returncode == 0, verified.stdout
    again = playground.quantplay("replay", str(folder))
    assert again.returncode == 2
    assert "quantized elsewhere and imported" in " ".join(again.stderr.split())

    shown = json.loads(playground.quantplay("registry", "show", told["sha256"], "--json").stdout)
    assert (shown["status"], shown["verdict"]) == ("validated", "pass")
    listed = json.loads(playground.quantplay("registry", "find", "--type", "Q5_0", "--json").stdout)
    assert [one["sha256"] for one in listed["packages"]] == [told["sha256"]]
    assert listed["imports"] == []

    data = bytearray(served.read_bytes())
    data[-1] ^= 1
    served.chmod(0o644)
    served.write_bytes(bytes(data))
    damaged = playground.quantplay("verify", str(folder))
    assert damaged.returncode == 2
    assert "is not the recorded file" in " ".join(damaged.stdout.split())
