"""Samples of counters over Prometheus' HTTP API."""

from __future__ import annotations

import base64
import json
import math
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import Any

from quantplay.errors import InputError, ServiceUnavailable
from quantplay.live.platform.rises import Series

SECONDS = 10  # an answer may take
MOST_BYTES = 64 * 2**20


@dataclass(frozen=True, kw_only=True)
class Prometheus:
    """A server at `url`; with `user:password@` in it, it is asked with these."""

    url: str

    def series(self, selector: str, start: float, end: float) -> list[Series]:
        """Every sample after `start` up to `end`, seconds since 1970, as Prometheus has them now.

        Raises ServiceUnavailable where there is no answer, InputError where Prometheus refuses the selector.
        """
        window = max(1, math.ceil(end - start))
        told = self.get("/api/v1/query", {"query": f"{selector}[{window}s]", "time": f"{end:.3f}"})
        try:
            return [
                Series(
                    labels=tuple(sorted((str(key), str(value)) for key, value in one["metric"].items())),
                    samples=tuple((float(at), float(value)) for at, value in one["values"]),
                )
                for one in told["data"]["result"]
            ]
        except (KeyError, TypeError, ValueError, AttributeError):
            raise ServiceUnavailable("what answers is no Prometheus", value=self.shown) from None

    def get(self, path: str, query: dict[str, str]) -> dict[str, Any]:
        parts = urllib.parse.urlsplit(self.url)
        address = f"{self.shown}{path}?{urllib.parse.urlencode(query)}"
        request = urllib.request.Request(address)  # noqa: S310 - the scheme is checked where the address comes in
        if parts.username:
            pair = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
            request.add_header("authorization", "Basic " + base64.b64encode(pair.encode()).decode())
        try:
            with urllib.request.urlopen(request, timeout=SECONDS) as answer:  # noqa: S310
                found = json.loads(answer.read(MOST_BYTES))
        except urllib.error.HTTPError as error:
            if error.code in (400, 422):
                raise InputError(
                    "Prometheus refuses a selector of the mapping", value=query["query"], allowed=reason(error)
                ) from None
            raise ServiceUnavailable(f"Prometheus answers with status {error.code}", value=self.shown) from None
        except (OSError, ValueError) as error:
            raise ServiceUnavailable("Prometheus does not answer", value=f"{self.shown}: {error}") from None
        if not isinstance(found, dict):
            raise ServiceUnavailable("what answers is no Prometheus", value=self.shown)
        return found

    @property
    def shown(self) -> str:
        """The address without user and password."""
        parts = urllib.parse.urlsplit(self.url)
        return urllib.parse.urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))


def reason(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.loads(error.read())["error"])
    except (OSError, ValueError, KeyError, TypeError):
        return "a selector of one metric"


def require_address(url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise InputError(
            "this is no address of a Prometheus", value=url.rpartition("@")[2], allowed="http://HOST:PORT, or https"
        )
    return url
