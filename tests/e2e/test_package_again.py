"""A real run's package: held against the database that recorded it, and made again somewhere else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from benchmarks.playground import Playground
from quantplay.handoff.manifest import manifest_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def package(playground: Playground) -> Path:
    code, run = playground.run(playground.plan("passes"))
    assert code == 0, run
    return Path(run["package"]["path"])


def test_the_database_knows_the_manifest_and_exposes_a_rewritten_package(
    playground: Playground, package: Path, tmp_path: Path
) -> None:
    genuine = playground.quantplay("verify", str(package), "--registry", "--json")
    body = json.loads(genuine.stdout)
    assert (genuine.returncode, body["ok"]) == (0, True), body
    assert any("the product database recorded this manifest" in line for line in body["checked"])
    forged = Path(shutil.copytree(package, tmp_path / "forged"))
    with (forged / "environment.txt").open("a") as file:
        file.write("zzz==1.0\n")
    (forged / "manifest.json").write_bytes(manifest_of(forged, body["run"]).to_bytes())
    assert playground.quantplay("verify", str(forged)).returncode == 0  # consistent in itself
    exposed = playground.quantplay("verify", str(forged), "--registry")
    assert exposed.returncode == 2
    assert "is not the manifest that the product database recorded" in exposed.stdout


def test_another_database_does_not_know_it(playground: Playground, package: Path, tmp_path: Path) -> None:
    stranger = Path(shutil.copytree(package, tmp_path / "stranger"))
    run = json.loads((stranger / "run.json").read_bytes())
    (stranger / "run.json").write_text(json.dumps(run | {"run": "00000000-0000-0000-0000-000000000000"}))
    (stranger / "manifest.json").write_bytes(manifest_of(stranger, "00000000-0000-0000-0000-000000000000").to_bytes())
    unknown = playground.quantplay("verify", str(stranger), "--registry")
    assert unknown.returncode == 2
    assert "knows no package of this run" in unknown.stdout


def test_it_is_made_again_from_its_archive_in_an_empty_home(
    playground: Playground, package: Path, tmp_path: Path
) -> None:
    home, out = tmp_path / "home", tmp_path / "again.gguf"
    done = playground.quantplay(
        "replay", f"{package}.tar", "--out", str(out), "--json", QUANTPLAY_HOME=str(home), QUANTPLAY_DATABASE_URL=""
    )
    body = json.loads(done.stdout)
    assert (done.returncode, body["identical"], body["stack"]) == (0, True, []), body
    assert out.read_bytes() == next((package / "artifact").iterdir()).read_bytes()
    assert not [path for path in home.rglob("*") if path.is_file()]
