"""The command line as a user starts it: exit codes, what goes where, JSON, piping."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from plan_samples import PLAN, edited, write_sample

from quantplay.plan_file import read_plan

ROOT = Path(__file__).parents[2]


def quantplay(*arguments: object, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "quantplay.cli", *map(str, arguments)]
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("QUANTPLAY_", "PREFECT_"))}
    here = {**inherited, "QUANTPLAY_HOME": str(home), "COLUMNS": "80", **environment}
    return subprocess.run(command, capture_output=True, text=True, env=here, timeout=240, check=False, cwd=home)


def test_help_lists_every_command_and_imports_little(tmp_path: Path) -> None:
    done = quantplay("--help", home=tmp_path)
    assert done.returncode == 0
    for command in (
        "init",
        "check",
        "plan",
        "run",
        "pilot",
        "sign",
        "evaluate",
        "show",
        "verify",
        "doctor",
        "down",
        "revalidate",
        "registry",
        "release-check",
        "release",
        "rollback",
        "traffic",
    ):
        assert f"\n  {command} " in done.stdout
        assert f"## `quantplay {command}" in (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
    code = (
        "import sys; sys.argv = ['quantplay', '--help']\nfrom quantplay.cli import main\n"
        "try:\n    main()\nexcept SystemExit: pass\n"
        "print([m for m in ('pydantic', 'rich', 'yaml', 'numpy', 'torch', 'prefect', 'asyncio') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    "command", ["check", "run", "sign", "evaluate", "show", "verify", "init", "revalidate", "doctor"]
)
def test_every_command_explains_itself(tmp_path: Path, command: str) -> None:
    done = quantplay(command, "--help", home=tmp_path)
    assert done.returncode == 0
    assert done.stderr == ""
    page = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
    for word in done.stdout.split():
        if word.startswith("--") and word != "--help":
            assert f"`{word}" in page, word


def test_version_and_wrong_usage(tmp_path: Path) -> None:
    assert quantplay("--version", home=tmp_path).stdout.startswith("quantplay ")
    done = quantplay("chekc", home=tmp_path)
    assert done.returncode == 2
    assert "check" in done.stderr
    assert quantplay("check", home=tmp_path).returncode == 2


def test_init_writes_a_plan_that_lacks_only_its_files(tmp_path: Path) -> None:
    done = quantplay("init", tmp_path / "new", home=tmp_path)
    assert read_plan(tmp_path / "new" / "plan.yaml").name == "new"
    assert done.returncode == 0
    path = tmp_path / "new" / "plan.yaml"
    read_plan(path)
    checked = quantplay("check", path, "--json", home=tmp_path)
    assert checked.returncode == 2
    faults = json.loads(checked.stdout)["faults"]
    assert len(faults) == 5
    assert all("there is no such" in fault["what"] for fault in faults)


def test_init_overwrites_nothing(tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text("mine")
    done = quantplay("init", tmp_path, home=tmp_path)
    assert done.returncode == 2
    assert "not overwritten" in done.stderr
    assert (tmp_path / "plan.yaml").read_text() == "mine"
    (tmp_path / "file").write_text("x")
    assert quantplay("init", tmp_path / "file", home=tmp_path).returncode == 2


def test_check_of_a_good_plan_piped_has_no_colour(tmp_path: Path) -> None:
    path = write_sample(tmp_path)
    done = quantplay("check", path, home=tmp_path)
    assert done.returncode == 0
    assert "This plan can run." in done.stdout
    assert "\x1b" not in done.stdout + done.stderr
    assert read_plan(path).gate_digest() in done.stdout
    report = json.loads(quantplay("check", path, "--json", home=tmp_path).stdout)
    assert report["faults"] == []
    assert report["power"]["joint_probability"] > 0.5


def test_check_of_a_bad_plan_shows_every_fault(tmp_path: Path) -> None:
    path = write_sample(tmp_path, edited("[Q4_K_M, Q5_K_M]", "[Q4]", edited("seed: 3", "seed: x")))
    done = quantplay("check", path, home=tmp_path)
    assert done.returncode == 2
    assert f"{path}:6" in done.stdout
    assert "seed: should be a whole number" in done.stdout
    assert "unknown serving type" in done.stdout
    assert "2 faults: this plan can't run" in done.stdout


def test_run_refuses_a_bad_plan_before_it_starts_anything(tmp_path: Path) -> None:
    path = write_sample(tmp_path, edited("seed: 3", "seed: x"))
    done = quantplay("run", path, home=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "bad plan or input (exit code 2)" in done.stderr
    assert "seed: should be a whole number" in done.stderr
    assert not (tmp_path / "prefect").exists()
    assert not (tmp_path / "postgres").exists()
    answer = json.loads(quantplay("run", path, "--json", home=tmp_path).stdout)
    assert answer["exit_code"] == 2
    assert answer["error"]["kind"] == "PlanError"
    assert answer["error"]["faults"][0]["where"].endswith("plan.yaml:6")


def test_evaluate_says_what_a_model_is(tmp_path: Path) -> None:
    write_sample(tmp_path)
    items, model = tmp_path / "gate.jsonl", tmp_path / "model"
    none = quantplay("evaluate", tmp_path / "none", items, home=tmp_path)
    assert none.returncode == 2
    assert "there is no such model" in none.stderr
    other = quantplay("evaluate", model, items, "--runtime", "llama.cpp", home=tmp_path)
    assert other.returncode == 2
    assert "allowed: transformers" in " ".join(other.stderr.split())
    assert quantplay("evaluate", model, items, "--runtime", "onnx", home=tmp_path).returncode == 2
    bad = quantplay("evaluate", model, tmp_path / "plan.yaml", home=tmp_path)
    assert bad.returncode == 2
    assert "Traceback" not in bad.stderr


def test_a_setting_that_cannot_be_is_no_traceback(tmp_path: Path) -> None:
    write_sample(tmp_path, PLAN)
    done = quantplay("doctor", home=tmp_path, PREFECT_API_URL="http://127.0.0.1:9/api")
    assert done.returncode == 3
    assert "missing" in done.stdout
    assert "Traceback" not in done.stderr


def test_doctor_says_that_all_is_well_and_starts_nothing(tmp_path: Path) -> None:
    done = quantplay("doctor", "--json", home=tmp_path)
    answer = json.loads(done.stdout)
    assert done.returncode == (0 if answer["good"] else 3)
    names = {finding["name"] for finding in answer["findings"]}
    wanted = {
        "Python",
        "packages",
        "C++ compiler",
        "llama.cpp",
        "database",
        "artifact store",
        "Prefect server",
        "threads",
    }
    assert wanted <= names
    assert all(finding["fix"] for finding in answer["findings"] if finding["state"] == "missing")
    assert list(tmp_path.iterdir()) == []


def test_down_with_nothing_running(tmp_path: Path) -> None:
    done = quantplay("down", home=tmp_path)
    assert (done.returncode, done.stdout) == (0, "nothing was running\n")


def test_a_plan_begun_from_the_pilot_is_whole_and_its_own(tmp_path: Path) -> None:
    done = quantplay("init", tmp_path / "My Desk", "--from-pilot", home=tmp_path)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "My Desk"
    plan = read_plan(folder / "plan.yaml")
    assert (plan.name, plan.profile) == ("my-desk", "internal")
    for path in (
        plan.model.source,
        plan.calibration.file,
        plan.calibration.traffic,
        plan.evaluation.gate,
        plan.evaluation.dev,
    ):
        assert (folder / str(path)).exists(), path
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    again = quantplay("init", folder, "--from-pilot", home=tmp_path)
    assert again.returncode == 2
    assert "name another folder" in again.stderr
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []
