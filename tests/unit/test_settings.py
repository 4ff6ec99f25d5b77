from __future__ import annotations

import pytest

from quantplay.errors import InputError
from quantplay.settings import read_settings


@pytest.mark.parametrize("text", ["many", "0", "-1", "1.5", "999999999999999999999", "²"])
def test_threads_that_are_no_number_are_refused_by_name(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("QUANTPLAY_THREADS", text)
    with pytest.raises(InputError, match="QUANTPLAY_THREADS"):
        read_settings()


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
