"""The image's files without building it: hadolint, what may enter the build, and that secrets reach Prefect by file alone."""

from __future__ import annotations

import fnmatch
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "infra" / "images"
DOCKERFILE = (IMAGES / "Dockerfile").read_text(encoding="utf-8")
ENTRYPOINT = IMAGES / "entrypoint.sh"
SECRETS = ("PREFECT_SERVER_DATABASE_CONNECTION_URL", "PREFECT_SERVER_API_AUTH_STRING", "PREFECT_API_AUTH_STRING")


def test_hadolint_has_nothing_to_say() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, "--no-color", IMAGES / "Dockerfile"], capture_output=True, text=True)
    assert done.stdout + done.stderr == ""


def test_every_base_image_is_pinned_by_digest_and_the_last_stage_is_not_root() -> None:
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, flags=re.MULTILINE)
    assert bases
    assert all(re.fullmatch(r"python:3\.11\.\d+-slim-bookworm@sha256:[0-9a-f]{64}", base) for base in bases)
    assert len(set(bases)) == 1, "the environment is moved between stages, so both have the same Python"
    last = DOCKERFILE.rpartition("\nFROM ")[2]
    assert re.findall(r"^USER (\S+)", last, flags=re.MULTILINE) == ["10001:10001"]
    assert "openssh-client" in last
    assert re.search(
        r'^ENTRYPOINT \["/usr/bin/tini", "--", "/opt/quantplay/infra/images/entrypoint.sh"\]', last, re.MULTILINE
    )


def test_what_is_copied_exists_and_is_let_through() -> None:
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert (ROOT / ".dockerignore").read_text().splitlines()[1] == "*"
    copied = [
        word
        for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, flags=re.MULTILINE)
        for word in line.split()[:-1]
    ]
    for name in copied:
        path = name.rstrip("/")
        assert (ROOT / path).exists(), name
        assert any(path == one or path.startswith(f"{one}/") or fnmatch.fnmatch(path, one) for one in allowed), name
    assert [name for name in allowed if not (ROOT / name).exists()] == []


def test_the_torch_of_the_images_is_the_one_of_the_project() -> None:
    wanted = re.search(r'"torch==([\d.]+)"', (ROOT / "pyproject.toml").read_text())
    assert wanted is not None
    assert re.findall(r"^ARG TORCH=(\S+)", DOCKERFILE, flags=re.MULTILINE) == [f"{wanted[1]}+cpu"]
    assert f'TORCH: "{wanted[1]}"' in (ROOT / "docker-compose.yml").read_text()


def entrypoint(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {"PATH": os.environ["PATH"]}
    return subprocess.run([ENTRYPOINT, *command], capture_output=True, text=True, env=kept | environment)


def test_the_entry_point_becomes_its_command() -> None:
    done = entrypoint("sh", "-c", 'echo "$1"; exit 7', "sh", "two words")
    assert (done.returncode, done.stdout) == (7, "two words\n")


def test_prefects_secrets_come_from_their_files(tmp_path: Path) -> None:
    texts = {name: f"{name.lower()}:$(id) `id` 'p\" \\ /@x" for name in SECRETS}
    for name, text in texts.items():
        (tmp_path / name).write_text(f"{text}\n")
    done = entrypoint("env", **{f"{name}_FILE": str(tmp_path / name) for name in SECRETS})
    assert {f"{name}={text}" for name, text in texts.items()} <= set(done.stdout.splitlines())
    assert "_FILE=" not in done.stdout


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("fault", ["missing", "empty", "both"])
def test_without_its_secret_nothing_starts(tmp_path: Path, name: str, fault: str) -> None:
    secret = tmp_path / "url"
    if fault != "missing":
        secret.write_text("" if fault == "empty" else "postgresql+asyncpg://a")
    also = {name: "postgresql+asyncpg://b"} if fault == "both" else {}
    done = entrypoint("echo", "started", **{f"{name}_FILE": str(secret)}, **also)
    assert done.returncode == 2
    assert done.stdout == ""
    assert name in done.stderr or str(secret) in done.stderr
