"""Volume from a Prometheus that scrapes vLLM servers: requests and tokens a day, by the model's served name."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta

from quantplay.adoption.served import Told
from quantplay.errors import InputError
from quantplay.live.platform.prometheus import Prometheus
from quantplay.live.platform.rises import Rises, Series

REQUESTS = "vllm:request_success_total"
TOKENS = ("vllm:prompt_tokens_total", "vllm:generation_tokens_total")
LABEL = "model_name"
"""As vLLM names them: https://docs.vllm.ai/en/latest/usage/metrics.html"""
MOST_DAYS = 366


def read_prometheus(prometheus: Prometheus, since: date, now: datetime) -> tuple[Told, ...]:
    """A row a day and model that was asked. Counting begins with each counter's first sample; one that begins anew goes on.

    Raises ServiceUnavailable where there is no answer, InputError where the period is too long.
    """
    days = (now.date() - since).days + 1
    if days > MOST_DAYS:
        raise InputError("so many days are not read from Prometheus", value=days, allowed=f"up to {MOST_DAYS}")
    rises, told = Rises(), []
    for number in range(days):
        day = since + timedelta(days=number)
        begin = datetime.combine(day, time(), UTC)
        end = min(begin + timedelta(days=1), now)
        if end <= begin:
            break
        found = {name: prometheus.series(name, begin.timestamp(), end.timestamp()) for name in (REQUESTS, *TOKENS)}
        rises.meet(series for some in found.values() for series in some)
        requests = by_name(rises, found[REQUESTS])
        tokens: dict[str, float] = {}
        for name in TOKENS:
            for model, count in by_name(rises, found[name]).items():
                tokens[model] = tokens.get(model, 0.0) + count
        told += [
            Told(
                name=model, is_endpoint=False, day=day, requests=round(count),
                tokens=round(tokens[model]) if model in tokens else None,
            )
            for model, count in sorted(requests.items())
            if round(count)
        ]  # fmt: skip
    return tuple(told)


def by_name(rises: Rises, found: Iterable[Series]) -> dict[str, float]:
    risen: dict[str, float] = {}
    for series in found:
        name = series.label(LABEL)
        if name:
            risen[name] = risen.get(name, 0.0) + rises.take(series)
    return risen
