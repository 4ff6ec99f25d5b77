"""What the benchmarks of play 8 over the product database share: a private PostgreSQL, a gateway on it that may be killed, clients that count."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from quantplay.live.release import release
from quantplay.records.rollback_rules import RollbackRules
from quantplay.records.traffic import PolicyRevision, ServedArm
from quantplay.settings import Settings
from quantplay.store.embedded import start_embedded, stop_embedded
from quantplay.store.registry import Store, open_store


@dataclass(frozen=True, kw_only=True)
class Ground:
    """A folder with a database of its own."""

    top: Path
    url: str  # of the database; the same after every start of it

    @property
    def home(self) -> Path:
        """Of the embedded server."""
        return self.top / "server"

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ, "QUANTPLAY_DATABASE_URL": self.url, "QUANTPLAY_HOME": str(self.top / "home"),
            "QUANTPLAY_GATEWAY_KEYS": "", "OMP_NUM_THREADS": "1",
        }  # fmt: skip

    def store(self) -> Store:
        home = self.top / "home"
        return open_store(
            Settings(
                home=home, cache=home / "cache", database_url=self.url, artifacts_url=(home / "artifacts").as_uri(), threads=1,
                owners=home / "owners.yaml", prefect_api_url=None,
            )
        )  # fmt: skip


@contextlib.contextmanager
def ground() -> Iterator[Ground]:
    top = Path(tempfile.mkdtemp(prefix="quantplay-live-"))
    top.chmod(0o755)  # PostgreSQL drops root and has to enter it
    try:
        (top / "home").mkdir()
        url = start_embedded(top / "server")
        yield Ground(top=top, url=url.set(drivername="postgresql").render_as_string(hide_password=False))
    finally:
        stop_embedded(top / "server")
        shutil.rmtree(top, ignore_errors=True)


def arms(full: str, small: str) -> dict[str, ServedArm]:
    """Both servers list the model `model`."""
    return {
        "full_precision": ServedArm(url=full, model="model", artifact="a" * 64),
        "quantized": ServedArm(url=small, model="model", artifact="b" * 64),
    }


def released(
    store: Store, endpoint: str, both: dict[str, ServedArm], *, weight: float, rules: RollbackRules | None = None
) -> tuple[int, int]:
    """A new revision in force; its number and the pointer's version."""
    policy = PolicyRevision(
        endpoint=endpoint, package=None, salt="s", steps=(0.25, 0.5, 1.0), rules=rules or RollbackRules(), **both
    )
    return release(store, policy, weight=weight, actor="benchmark", reason="a benchmark")


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@dataclass(kw_only=True)
class Service:
    """A process that is kept running, killed with -9, and started again; its output goes to a log."""

    words: Sequence[str]
    environment: dict[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> float:
        """The moment it was started."""
        now = time.monotonic()
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, *self.words], env=self.environment, stdout=out, stderr=subprocess.STDOUT
            )
        return now

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def end(self) -> int | None:
        """Ask it to stop; its exit status."""
        if self.process is None:
            return None
        self.process.terminate()
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()
            return None

    def told(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""


@contextlib.contextmanager
def service(here: Ground, name: str, *words: str) -> Iterator[Service]:
    """`python WORDS`, beside the database of `here`."""
    found = Service(words=words, environment=here.environment, log=here.top / f"{name}.log")
    found.start()
    try:
        yield found
    finally:
        found.end()


def gateway_service(here: Ground, port: int, *words: str) -> contextlib.AbstractContextManager[Service]:
    """A gateway whose policies come from the database, and whose counts go there."""
    return service(here, f"gateway-{port}", *(words or ("-m", "quantplay.cli", "gateway")), "--port", str(port))


def until_ready(port: int, seconds: float = 60) -> None:
    import urllib.request

    ends = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
            return
        if time.monotonic() > ends:
            raise RuntimeError(f"the gateway on port {port} does not become ready")
        time.sleep(0.05)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request as its client saw it."""

    endpoint: str
    began: float  # monotonic
    status: int  # 0: no answer at all
    served: str | None
    assigned: str | None
    id: str | None


@dataclass(kw_only=True, eq=False)
class Clients(threading.Thread):
    """Ask endpoints in turn, so many times a second, until ended; every answer quantized for `unhappy` gets a thumbs-down."""

    port: int
    endpoints: Sequence[str]
    rate: float
    unhappy: str | None = None
    asked: list[Asked] = field(default_factory=list)
    told: list[int] = field(default_factory=list)  # statuses of feedback
    ended: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        super().__init__(daemon=True)

    def __enter__(self) -> Clients:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.join()

    def run(self) -> None:
        asyncio.run(self.ask())

    async def ask(self) -> None:
        began, number, tasks = time.monotonic(), 0, set[asyncio.Task[None]]()
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=3)
        async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=60)) as session:
            while not self.ended.is_set():
                await asyncio.sleep(max(0.0, began + number / self.rate - time.monotonic()))
                task = asyncio.create_task(self.one(session, self.endpoints[number % len(self.endpoints)], number))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
                number += 1
            await asyncio.gather(*tasks)

    async def one(self, session: aiohttp.ClientSession, endpoint: str, number: int) -> None:
        url, began = f"http://127.0.0.1:{self.port}/v1", time.monotonic()
        body = {"model": endpoint, "messages": [{"role": "user", "content": "x"}], "script": {"chunks": 4}}
        status, served, assigned, response = 0, None, None, None
        try:
            headers = {"x-conversation-id": f"c{number}"}
            async with session.post(f"{url}/chat/completions", json=body, headers=headers) as answer:
                await answer.read()
                status, told = answer.status, answer.headers
                served, assigned = told.get("x-quantplay-served"), told.get("x-quantplay-assigned")
                response = told.get("x-quantplay-response-id")
        except (aiohttp.ClientError, OSError, TimeoutError):
            status = 0
        self.asked.append(
            Asked(endpoint=endpoint, began=began, status=status, served=served, assigned=assigned, id=response)
        )
        if endpoint == self.unhappy and served == "quantized" and response:
            with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
                async with session.post(f"{url}/feedback", json={"id": response, "signal": "thumbs_down"}) as said:
                    await said.read()
                    self.told.append(said.status)
