from __future__ import annotations

from pathlib import Path

import pytest

from quantplay.errors import InputError
from quantplay.settings import read_settings


@pytest.mark.parametrize("text", ["many", "0", "-1", "1.5", "999999999999999999999", "²"])
def test_threads_that_are_no_number_are_refused_by_name(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("QUANTPLAY_THREADS", text)
    with pytest.raises(InputError, match="QUANTPLAY_THREADS"):
        read_settings()


def test_the_database_address_may_come_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    secret = tmp_path / "quantplay_database_url"
    secret.write_text("postgresql://quantplay:a-secret@db/quantplay\n")
    monkeypatch.delenv("QUANTPLAY_DATABASE_URL", raising=False)
    monkeypatch.setenv("QUANTPLAY_DATABASE_URL_FILE", str(secret))
    assert read_settings().database_url == "postgresql://quantplay:a-secret@db/quantplay"


@pytest.mark.parametrize("fault", ["both", "missing", "empty", "binary"])
def test_a_secret_file_that_cannot_be_used_is_named_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fault: str
) -> None:
    secret = tmp_path / "secret"
    if fault != "missing":
        secret.write_bytes({"both": b"a-secret", "empty": b" \n", "binary": b"a-secret\xff"}[fault])
    monkeypatch.setenv("QUANTPLAY_DATABASE_URL_FILE", str(secret))
    monkeypatch.setenv("QUANTPLAY_DATABASE_URL", "postgresql://a-secret@db/x" if fault == "both" else "")
    with pytest.raises(InputError, match="QUANTPLAY_DATABASE_URL_FILE") as raised:
        read_settings()
    assert "a-secret" not in str(raised.value)


def test_everything_lies_below_the_home(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home = tmp_path_factory.mktemp("a home with spaces")
    for name in ("QUANTPLAY_CACHE", "QUANTPLAY_ARTIFACTS_URL", "QUANTPLAY_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("QUANTPLAY_HOME", str(home))
    found = read_settings()
    assert found.cache.is_relative_to(home)
    assert found.artifacts_url.startswith(home.as_uri())
    assert found.threads >= 1


@pytest.mark.parametrize("text", ["yes", "true", "2", " 1"])
def test_code_is_allowed_by_a_clear_word_only(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("QUANTPLAY_ALLOW_CODE", text)
    with pytest.raises(InputError, match="QUANTPLAY_ALLOW_CODE"):
        read_settings()


@pytest.mark.parametrize("text", ["ten", "-1", "1.5", "1" * 9])
def test_a_waiting_time_that_is_no_number_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("QUANTPLAY_GIVE_BACK_SECONDS", text)
    with pytest.raises(InputError, match="QUANTPLAY_GIVE_BACK_SECONDS"):
        read_settings()
