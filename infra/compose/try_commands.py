"""Runs the very start command and health check of each service of docker-compose.yml, without a container engine.

`sudo python infra/compose/try_commands.py`. Linux namespaces stand in for the engine: a network in which the services' names are known, the
paths of the image and of the mounts, a read-only root, the user named in the file, no capabilities, only the environment of image
and file. Everything ends with this program, and what it wrote is in one temporary folder. What can't be had that way is stood in for
and named in the table: PostgreSQL and S3 run from packages of this machine, the GPU worker without a GPU.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "docker-compose.yml"
INSIDE = "QUANTPLAY_TRY_INSIDE"
HEALTHY_SECONDS = 180
LONGEST_STEP_SECONDS = 1200
ENTRYPOINT = ["/bin/sh", "/opt/quantplay/infra/images/entrypoint.sh"]
VARIABLE = re.compile(r"\$\{(\w+)(?::[-?]([^}]*))?\}")


@dataclass
class Tried:
    """What became of one service."""

    service: str
    what: str
    result: str = ""
    seconds: float = 0.0
    process: subprocess.Popen[bytes] | None = None
    notes: list[str] = field(default_factory=list)


def image_environment() -> dict[str, str]:
    """What the Dockerfile's last stage sets."""
    stage = (ROOT / "infra/images/Dockerfile").read_text(encoding="utf-8").rpartition("\nFROM ")[2]
    block = re.search(r"^ENV (.*?[^\\])$", stage, flags=re.MULTILINE | re.DOTALL)
    assert block is not None
    words = shlex.split(block[1].replace("\\\n", " "))
    found = dict(word.split("=", 1) for word in words)
    return found | {"PATH": found["PATH"].replace("$PATH", os.defpath)}


def filled(value: Any, given: dict[str, str]) -> Any:
    """`value` with ${NAME} and ${NAME:-default} replaced, as Compose does."""
    if isinstance(value, dict):
        return {key: filled(part, given) for key, part in value.items()}
    if isinstance(value, list):
        return [filled(part, given) for part in value]
    if isinstance(value, str):
        return VARIABLE.sub(lambda match: given.get(match[1]) or match[2] or "", value)
    return value


class Stage:
    """The stand-in for the engine; lives inside the namespaces."""

    def __init__(self, top: Path) -> None:
        self.top = top
        given = {"QUANTPLAY_OWNERS": str(ROOT / "deployments/owners.yaml"), "QUANTPLAY_SECRETS": str(top / "secrets")}
        self.compose: dict[str, Any] = filled(yaml.safe_load(COMPOSE.read_text(encoding="utf-8")), given)
        self.services: dict[str, Any] = self.compose["services"]
        self.tried: list[Tried] = []

    # --- what the engine would make ------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Names, mounts and secrets that all services share: they get the same paths, so one set of mounts is enough."""
        call("ip", "link", "set", "lo", "up")
        hosts = self.top / "hosts"
        hosts.write_text(f"127.0.0.1 localhost {' '.join(self.services)}\n")
        call("mount", "--bind", str(hosts), "/etc/hosts")
        call("sh", str(ROOT / "infra/compose/make-secrets.sh"), str(self.top / "secrets"))
        from quantplay.settings import read_settings

        call("mount", "-t", "tmpfs", "tmpfs", "/opt")
        for source, target in {
            ROOT: "/opt/quantplay",
            read_settings().cache: "/var/cache/quantplay",
            ROOT / "examples": "/plans",
        }.items():
            bind(Path(source), Path(target), read_only=True)
        call("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", fresh("/run/secrets"))
        for secret in (self.top / "secrets").iterdir():  # one by one, as the engine does: the folder itself is closed
            target = Path("/run/secrets") / secret.name
            target.touch()
            call("mount", "--bind", "-o", "ro", str(secret), str(target))
        reachable(Path(sys.base_prefix), self.top / "python")
        for volume, target, user in (
            ("home", "/var/lib/quantplay", 10001), ("locks", "/var/lock/quantplay", 10001), ("etc", "/etc/quantplay", 0),
            ("postgres", "/var/lib/postgresql/data", 999), ("run", "/var/run/postgresql", 999),
        ):  # fmt: skip
            folder = self.top / volume
            folder.mkdir()
            os.chown(folder, user, user)
            bind(folder, Path(target))
        for source, target in (("owners", "owners.yaml"), ("gateway_keys", "gateway-keys.yaml")):
            shutil.copyfile(ROOT / self.compose["configs"][source]["file"], f"/etc/quantplay/{target}")

    def command(self, name: str, words: list[str], *, entrypoint: list[str] = ENTRYPOINT) -> list[str]:
        """A command line that runs `words` as the service would: read-only root, own /tmp, its user, no capabilities."""
        service = self.services[name]
        user = service["user"].split(":")
        script = (
            "mount -t tmpfs -o mode=1777 tmpfs /tmp && mount -o remount,bind,ro / && cd /opt/quantplay && "
            f"exec setpriv --reuid={user[0]} --regid={user[1]} --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all "
            f"env -i {shlex.join(f'{key}={value}' for key, value in self.environment(name).items())} "
            + shlex.join([*entrypoint, *words])
        )
        return ["unshare", "--mount", "--fork", "--kill-child", "sh", "-c", script]

    def environment(self, name: str) -> dict[str, str]:
        mine = {key: str(value) for key, value in (self.services[name].get("environment") or {}).items()}
        if self.services[name]["image"].startswith("quantplay/"):
            return image_environment() | mine
        return {"PATH": f"/usr/lib/postgresql/15/bin:{os.environ['PATH']}", "PGDATA": "/var/lib/postgresql/data"} | mine

    # --- running ---------------------------------------------------------------------------------------------------------

    def once(self, name: str, words: list[str] | None = None, **how: Any) -> Tried:
        """Run a one-shot service to its end."""
        words = words or self.services[name]["command"]
        tried = self.note(name, shlex.join(words))
        done = self.run(name, words, **how)
        return self.ended(
            tried, "exit code 0" if done.returncode == 0 else f"FAILED, exit code {done.returncode}", done.stdout
        )

    def up(self, name: str, words: list[str] | None = None, check: list[str] | None = None, **how: Any) -> Tried:
        """Start a service and wait until its health check succeeds."""
        words = words or self.services[name]["command"]
        check = check or self.services[name]["healthcheck"]["test"][1:]
        tried = self.note(name, shlex.join(words))
        with (self.top / f"{name}.log").open("wb") as log:
            tried.process = subprocess.Popen(self.command(name, words, **how), stdout=log, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + HEALTHY_SECONDS
        while time.monotonic() < deadline and tried.process.poll() is None:
            if self.run(name, check, entrypoint=[]).returncode == 0:
                return self.ended(tried, f"healthy by `{shlex.join(check)[:60]}`")
            time.sleep(1)
        return self.ended(tried, "FAILED, never healthy", (self.top / f"{name}.log").read_text(errors="replace"))

    def run(self, name: str, words: list[str], **how: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(name, words, **how), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
            timeout=LONGEST_STEP_SECONDS,
        )  # fmt: skip

    def note(self, name: str, what: str) -> Tried:
        tried = Tried(service=name, what=what, seconds=time.monotonic())
        self.tried.append(tried)
        return tried

    def ended(self, tried: Tried, result: str, output: str = "") -> Tried:
        tried.seconds = time.monotonic() - tried.seconds
        tried.result = result
        print(f"{tried.service:11} {tried.seconds:6.1f} s  {result}\n{'':21}{tried.what[:110]}", flush=True)
        for line in output.strip().splitlines()[-(30 if "FAILED" in result else 2) :]:
            print(f"{'':21}| {line[:160]}", flush=True)
        return tried

    def stop(self, tried: Tried, number: int = signal.SIGTERM, seconds: float = 60) -> None:
        """Send the service's own process a signal, as the engine does, and wait for its end."""
        assert tried.process is not None
        if tried.process.poll() is not None:
            log = (self.top / f"{tried.service}.log").read_text(errors="replace")
            self.ended(tried, f"FAILED, ended by itself with exit code {tried.process.returncode}", log)
            return
        for child in children(tried.process.pid):
            os.kill(child, number)
        started = time.monotonic()
        try:
            code = tried.process.wait(seconds)
            took = time.monotonic() - started
            print(
                f"{tried.service:11} {took:6.1f} s  stopped by {signal.Signals(number).name}, exit code {code}",
                flush=True,
            )
        except subprocess.TimeoutExpired:
            tried.result += f"; FAILED to stop within {seconds:.0f} s"

    # --- the services whose images can't be had here ----------------------------------------------------------------------

    def postgres(self) -> None:
        """What the official image's entrypoint does, by hand: initdb, our script over the socket, then the server."""
        data = "/var/lib/postgresql/data"
        passwd = self.top / "passwd"
        passwd.write_text(
            "root:x:0:0::/root:/bin/sh\npostgres:x:999:999::/tmp:/bin/sh\nquantplay:x:10001:10001::/tmp:/bin/sh\n"
        )
        call("mount", "--bind", str(passwd), "/etc/passwd")
        first = (
            f"initdb -D {data} -U postgres --auth-local=trust --auth-host=scram-sha-256 --pwfile=/run/secrets/postgres_password "
            f"&& pg_ctl -D {data} -o '-c listen_addresses= -k /var/run/postgresql' -w start "
            f"&& PGHOST=/var/run/postgresql sh /opt/quantplay/infra/compose/create-databases.sh && pg_ctl -D {data} -m fast -w stop"
        )
        if "FAILED" not in self.once("postgres", ["sh", "-c", first], entrypoint=[]).result:
            self.up("postgres", ["postgres", "-D", data, "-c", "listen_addresses=*"], entrypoint=[])

    def s3(self) -> None:
        words = ["/opt/quantplay/.venv/bin/moto_server", "-H", "0.0.0.0", "-p", "8333"]  # noqa: S104 - of a private network
        self.up("s3", words, check=["curl", "--fail", "--silent", "http://127.0.0.1:8333/moto-api/"], entrypoint=[])


def reachable(python: Path, aside: Path) -> None:
    """An interpreter in root's home is put where it was, in a home that others may enter."""
    if python.parts[1] == "root":
        bind(python, aside)
        call("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/root")
        bind(aside, python, read_only=True)


def fresh(folder: str) -> str:
    Path(folder).mkdir(parents=True, exist_ok=True)
    return folder


def bind(source: Path, target: Path, *, read_only: bool = False) -> None:
    target.mkdir(parents=True, exist_ok=True)
    call("mount", "--bind", str(source), str(target))
    if read_only:
        call("mount", "-o", "remount,bind,ro", str(target))


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def call(*words: str) -> None:
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)


def inside(top: Path) -> int:
    stage = Stage(top)
    stage.prepare()
    stage.postgres()
    stage.s3()
    if failed(stage):
        return 1
    stage.once("bucket")
    stage.once("migrate")
    server = stage.up("prefect")
    stage.once("deploy")
    workers = [stage.up(name) for name in ("cpu-worker", "gpu-worker", "gateway", "judge")]
    if sys.argv[1:] and not failed(stage):
        stage.once("cpu-worker", sys.argv[1:])
    for tried in (*workers, server):
        stage.stop(tried)
    return failed(stage)


def failed(stage: Stage) -> int:
    bad = [tried.service for tried in stage.tried if "FAILED" in tried.result]
    print(f"failed: {', '.join(bad)}" if bad else "every command did what it should", flush=True)
    return len(bad)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("then", nargs="*", help="a command to run in the CPU worker's place while all are up")
    given = parser.parse_args()
    if os.environ.get(INSIDE):
        return inside(Path(os.environ[INSIDE]))
    if os.geteuid() != 0:
        print("try_commands: making namespaces and mounts takes root", file=sys.stderr)
        return 2
    top = Path(tempfile.mkdtemp(prefix="quantplay-compose-", dir="/var/tmp"))
    top.chmod(0o755)
    try:
        command = [
            "unshare",
            "--mount",
            "--net",
            "--pid",
            "--fork",
            "--mount-proc",
            "--kill-child",
            sys.executable,
            __file__,
            *given.then,
        ]
        return subprocess.run(command, env={**os.environ, INSIDE: str(top), "PYTHONPATH": str(ROOT)}).returncode
    finally:
        print(f"logs: {top}")


if __name__ == "__main__":
    sys.exit(main())
