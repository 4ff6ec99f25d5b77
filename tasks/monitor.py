"""Play 8 on the platform: one look at an endpoint, what people hear of it, and its page. The judge itself is quantplay.live."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import NAMESPACE_OID, uuid5

import httpx
from prefect import task
from prefect.artifacts import create_image_artifact, create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client

from quantplay.digest import digest_of_bytes
from quantplay.errors import ServiceUnavailable
from quantplay.live.chart import evidence_chart
from quantplay.live.markdown import endpoint_markdown, watched_markdown
from quantplay.live.notices import Notice, news, remember
from quantplay.live.retention import tidy
from quantplay.live.send import read_addresses, tell_people
from quantplay.live.state import Verdict
from quantplay.live.watch import Watched, look_around
from quantplay.records.traffic import TrafficPolicy
from tasks.progress import announce
from tasks.workbench import workbench

CHANNEL = "prefect"
EVENT = "quantplay.live"
"""Prefect events are named quantplay.live.KIND, of the resource quantplay.endpoint.NAME."""
HOURLY = 0  # the minute of an hour in which every page is shown, whether or not anything changed
CHARTED = 720  # verdicts in a chart: half a day
ONCE = {"cache_policy": NO_CACHE, "persist_result": False}  # the next minute looks again: nothing is retried


@task(name="judge", task_run_name="judge {endpoint}", **ONCE)
def judge_endpoint(endpoint: str) -> Watched:
    (watched,) = look_around(workbench().store, [endpoint])
    announce("judge", f"{endpoint}: {watched.action}")
    return watched


@task(name="tell", **ONCE)
def tell(watched: Sequence[Watched]) -> list[str]:
    """Events for Prefect's automations, and messages to the addresses of QUANTPLAY_NOTICES; who could not be reached, in words."""
    bench = workbench()
    with bench.store.run_lock("live events"):
        for one in watched:
            notices, told = news(bench.store, one, CHANNEL)
            for notice in notices:
                emit(notice)
            if notices:
                remember(bench.store, one.endpoint, CHANNEL, told)
    notices_file = bench.settings.notices
    return [] if notices_file is None else tell_people(bench.store, watched, read_addresses(notices_file))


def emit(notice: Notice) -> None:
    """Raises ServiceUnavailable where the server does not take the event: then it was not told."""
    at = notice.at.isoformat()
    event = {
        "id": str(uuid5(NAMESPACE_OID, f"{notice.endpoint} {notice.kind} {notice.revision} {at}")),
        "occurred": at,
        "event": f"{EVENT}.{notice.kind}",
        "resource": {"prefect.resource.id": f"quantplay.endpoint.{notice.endpoint}", "prefect.resource.name": notice.endpoint},
        "payload": {
            "endpoint": notice.endpoint, "revision": notice.revision, "title": notice.title, "text": notice.text,
            "for": list(notice.to),
        },
    }  # fmt: skip
    try:
        with get_client(sync_client=True) as client:
            client.request("POST", "/events", json=[event])  # type: ignore[arg-type]
    except httpx.HTTPError as error:
        raise ServiceUnavailable("the Prefect server did not take an event", value=str(error)) from error


@task(name="show", **ONCE)
def show(watched: Sequence[Watched]) -> None:
    """Pages of what changed, and of everything once an hour: a page a minute would fill Prefect's database.

    Once an hour, too, what play 8 keeps is rolled up.
    """
    store, now = workbench().store, datetime.now(UTC)
    if now.minute == HOURLY:
        tidy(store)
    policies = {policy.endpoint: policy for policy in store.traffic_policies()}
    worth = [one for one in watched if one.endpoint in policies and (now.minute == HOURLY or changed(one))]
    for one in worth:
        show_endpoint(one, policies[one.endpoint])
    if worth:
        create_markdown_artifact(
            watched_markdown(watched, tuple(policies.values())),
            key="live",
            description="Every endpoint, as judged last",
        )


def changed(one: Watched) -> bool:
    """Whether the judge says something else than the minute before."""
    if one.look is None:
        return one.fault is not None
    verdicts = verdicts_of(one.endpoint, one.look.revision, 2)
    return bool(one.look.done) or len(verdicts) < 2 or verdicts[-1].action != verdicts[-2].action


def show_endpoint(one: Watched, policy: TrafficPolicy) -> None:
    changes = workbench().store.traffic_changes(one.endpoint)
    revision = one.look.revision if one.look is not None else policy.revision
    chart = evidence_chart(verdicts_of(one.endpoint, revision, CHARTED))
    key = f"live-{key_of(one.endpoint)}"
    create_markdown_artifact(endpoint_markdown(one, policy, changes), key=key, description=f"{one.endpoint}, live")
    if chart is not None:
        create_image_artifact(chart.data_url(), key=f"{key}-evidence", description=f"{one.endpoint}: {chart.title}")


def key_of(endpoint: str) -> str:
    """Prefect allows no underscore in keys, and no two endpoints may share one."""
    plain = endpoint.replace("_", "-")
    return plain if plain == endpoint else f"{plain}-{digest_of_bytes(endpoint.encode())[:6]}"


def verdicts_of(endpoint: str, revision: int, newest: int) -> list[Verdict]:
    return [Verdict.model_validate_json(text) for text in workbench().store.judgements(endpoint, revision, newest)]
