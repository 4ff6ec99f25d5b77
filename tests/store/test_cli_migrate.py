"""`quantplay migrate`: what a deployment runs once before anything else uses the database."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import make_url

from quantplay.store.schema import HEAD


def migrate(url: str, secret: Path) -> subprocess.CompletedProcess[str]:
    secret.write_text(url)
    kept = {key: value for key, value in os.environ.items() if not key.startswith("QUANTPLAY_")}
    return subprocess.run(
        [sys.executable, "-m", "quantplay.cli", "migrate", "--json"], capture_output=True, text=True, timeout=120,
        env={**kept, "QUANTPLAY_HOME": str(secret.parent), "QUANTPLAY_DATABASE_URL_FILE": str(secret)},
    )  # fmt: skip


def test_an_empty_database_gets_its_tables_and_a_second_time_changes_nothing(
    new_database: Callable[..., str], tmp_path: Path
) -> None:
    url = new_database(empty=True)
    first, second = (migrate(url, tmp_path / "url") for _ in range(2))
    assert first.returncode == 0, first.stderr
    assert json.loads(first.stdout) == json.loads(second.stdout)
    assert json.loads(first.stdout)["tables"] == HEAD
    engine = sa.create_engine(make_url(url).set(drivername="postgresql+psycopg"))
    with engine.connect() as connection:
        assert connection.scalar(sa.text("select version_num from quantplay.alembic_version")) == HEAD
    engine.dispose()


def test_a_database_that_is_not_there_is_named(new_database: Callable[..., str], tmp_path: Path) -> None:
    url = make_url(new_database()).set(database="nobody-made-this")
    done = migrate(url.render_as_string(hide_password=False), tmp_path / "url")
    assert done.returncode in (2, 3)
    assert "nobody-made-this" in done.stdout
