"""A real Prometheus that scrapes what a test asks for, every second."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import yaml

from quantplay.harness.server import free_port

KEPT = Path(__file__).parents[1] / ".cache" / "prometheus" / "usr" / "bin" / "prometheus"
PROGRAM = shutil.which("prometheus") or (str(KEPT) if KEPT.exists() else None)
MISSING = "no program `prometheus`: apt-get install prometheus, or sh infra/setup/prometheus.sh"


@contextmanager
def prometheus_up(folder: Path, jobs: Mapping[str, str]) -> Iterator[str]:
    """Its address; `jobs`: name -> HOST:PORT/PATH to scrape."""
    assert PROGRAM is not None, MISSING
    scraped = [
        {"job_name": name, "metrics_path": "/" + path, "static_configs": [{"targets": [host]}]}
        for name, (host, _, path) in ((name, place.partition("/")) for name, place in jobs.items())
    ]
    config = folder / "prometheus.yml"
    config.write_text(
        yaml.safe_dump({"global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, "scrape_configs": scraped}),
        encoding="utf-8",
    )
    url = f"http://127.0.0.1:{free_port()}"
    process = subprocess.Popen(
        [
            PROGRAM, f"--config.file={config}", f"--storage.tsdb.path={folder / 'tsdb'}",
            f"--web.listen-address={url.removeprefix('http://')}", "--log.level=error",
        ],
    )  # fmt: skip
    try:
        for _ in range(200):
            try:
                with urllib.request.urlopen(f"{url}/api/v1/query?query=up", timeout=1) as answer:
                    if len(json.loads(answer.read())["data"]["result"]) == len(jobs):  # some seconds after it is ready
                        break
            except OSError:
                assert process.poll() is None, "Prometheus ended"
            time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(20)
