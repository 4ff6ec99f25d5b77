"""What people hear of an endpoint: everything once a channel, whatever was away meanwhile, and no address anywhere."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from quantplay.errors import InputError, IntegrityError
from quantplay.live.notices import DRIFTED, Told, news, remember, told_so_far
from quantplay.live.release import release, roll_back
from quantplay.live.send import Addresses, read_addresses, tell_people
from quantplay.live.watch import Watched, endpoints, look_around
from quantplay.records.traffic import PolicyRevision, ServedArm
from quantplay.store.registry import Store

NAME = "chat"
FULL = ServedArm(url="http://h:1/v1", model="f", artifact="a" * 64)
QUANTIZED = ServedArm(url="http://h:2/v1", model="q", artifact="b" * 64)
SECRET = "hunter2secret"


def released(store: Store, name: str = NAME, weight: float = 0.5) -> None:
    told = PolicyRevision(endpoint=name, package=None, full_precision=FULL, quantized=QUANTIZED, salt="s")
    release(store, told, weight=weight, actor="ada", reason="a test")


def kinds(store: Store, channel: str = "c", watched: Watched | None = None) -> list[str]:
    """Kinds of what is new on a channel, which is told and remembered."""
    notices, told = news(store, watched or Watched(endpoint=NAME), channel)
    if notices:
        remember(store, NAME, channel, told)
    return [one.kind for one in notices]


def test_every_change_is_told_once_a_channel_and_in_its_order(store: Store) -> None:
    released(store)
    assert kinds(store) == ["released"]
    assert kinds(store) == []
    store.switch_off(NAME, actor="ada", reason="smoke")
    roll_back(store, NAME, actor="ada", reason="worse")
    released(store)
    assert kinds(store) == ["switched_off", "rolled_back", "released"]
    assert kinds(store) == []
    assert kinds(store, "another") == ["released", "switched_off", "rolled_back", "released"]


def test_more_traffic_is_a_promotion_and_a_channel_that_is_new_tells_no_old_story(store: Store) -> None:
    released(store, weight=0.25)
    (now,) = store.traffic_policies(NAME)
    epoch = store.take_lease(NAME, "h")
    store.point(
        NAME, revision=1, state="live", weight=0.5, epoch=epoch, expected=now.version, actor="judge", reason="as good"
    )
    assert kinds(store) == ["released", "promoted"]
    later = datetime.now(UTC) + timedelta(days=2)
    assert told_so_far(store, NAME, "new", later) == Told(version=2)


def test_a_drift_is_told_once_a_channel_with_what_came_of_it(store: Store) -> None:
    released(store)
    assert kinds(store) == ["released"]
    body = {"reasons": ["Prompts are longer."], "came_of_it": "Its package holds."}
    store.append_event("quantplay", DRIFTED, NAME, {"day": "2026-11-20", **body})
    (notice,) = news(store, Watched(endpoint=NAME), "c")[0]
    assert (notice.kind, notice.text, notice.to) == (
        "drifted",
        "Prompts are longer. Its package holds.",
        ("product_owner",),
    )
    assert kinds(store) == ["drifted"]
    assert kinds(store) == []
    store.append_event("quantplay", DRIFTED, NAME, {"day": "2026-11-22", **body})
    assert kinds(store) == ["drifted"]
    assert kinds(store, "another") == ["released", "drifted", "drifted"]


def test_losing_sight_is_told_once_and_so_is_seeing_again(store: Store) -> None:
    released(store)
    fault = Watched(endpoint=NAME, fault=IntegrityError("counters fell"))
    assert kinds(store, watched=fault) == ["released", "unjudged"]
    assert kinds(store, watched=fault) == []
    (seen,) = look_around(store, [NAME])
    assert kinds(store, watched=seen) == ["clear"]
    assert kinds(store, watched=fault) == ["unjudged"]
    roll_back(store, NAME, actor="ada", reason="enough")
    assert kinds(store) == ["rolled_back"], "nobody needs to see what serves nobody"


@contextmanager
def receiver() -> Iterator[tuple[str, list[dict], list[int]]]:
    """A real HTTP server that takes Apprise's JSON notices; the third part holds the status it answers with."""
    got, status = list[dict](), [200]

    class Take(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            if status[0] == 200:
                got.append(body)
            self.send_response(status[0])
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = HTTPServer(("127.0.0.1", 0), Take)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"json://ada:{SECRET}@127.0.0.1:{server.server_port}", got, status
    finally:
        server.shutdown()
        server.server_close()


def test_each_address_gets_what_is_for_it_and_one_that_is_away_later(store: Store) -> None:
    with receiver() as (pager, paged, pager_status), receiver() as (owner, owned, _):
        addresses: Addresses = {"on_call": (pager,), "product_owner": (owner,)}
        released(store)
        assert tell_people(store, look_around(store, [NAME]), addresses) == []
        assert ([one["title"] for one in paged], len(owned)) == ([], 1)
        pager_status[0] = 500
        roll_back(store, NAME, actor="ada", reason="answers in the wrong language")
        for _ in range(2):
            (lost,) = tell_people(store, look_around(store, [NAME]), addresses)
            assert lost == "chat: on_call 1 of QUANTPLAY_NOTICES could not be reached"
        assert len(owned) == 2, "who was reached is not told again while another one is away"
        pager_status[0] = 200
        assert tell_people(store, look_around(store, [NAME]), addresses) == []
        (page,) = paged
    assert page["title"] == "quantplay: chat: rolled back to full precision"
    assert "answers in the wrong language" in page["message"]
    assert not [one for one in store.events() if SECRET in one.canonical]
    assert store.verify_events() == ()


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("on_call: [nonsense]", "on_call, address 1"),
        (f"on_call: ['foo://ada:{SECRET}@x']\noncall: []", "on_call, address 1"),
        ("oncall: []", "nobody of that name"),
        ("product_owner: ada", "product_owner: not a list"),
        ("[1", "not YAML"),
        ("", "no list of addresses"),
    ],
)
def test_a_file_of_addresses_that_is_wrong_is_told_without_its_secrets(tmp_path: Path, text: str, part: str) -> None:
    path = tmp_path / "notices.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as raised:
        read_addresses(path)
    assert part in str(raised.value)
    assert SECRET not in str(raised.value)


def test_an_unknown_endpoint_is_refused_by_name(store: Store) -> None:
    released(store)
    with pytest.raises(InputError, match="no such endpoint") as raised:
        endpoints(store, "chta")
    assert "chat" in str(raised.value)
    assert endpoints(store) == endpoints(store, NAME) == (NAME,)


def test_a_fault_at_one_endpoint_keeps_no_other_from_being_judged(store: Store) -> None:
    for name in ("first", "second", "third"):
        released(store, name)
    store.put_judgement("second", 1, int(datetime.now(UTC).timestamp()) + 1, '{"no": "verdict"}')
    seen = {one.endpoint: one.action for one in look_around(store, endpoints(store))}
    assert seen == {"first": "continue", "second": "fault", "third": "continue"}
