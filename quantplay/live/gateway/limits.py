"""What one request, one client and one process may take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Limits:
    body_bytes: int = 8 * 2**20
    head_bytes: int = 32 * 2**10  # request line and headers
    head_seconds: float = 10  # from connecting to the end of the headers
    body_seconds: float = 30  # from the headers to the end of the body
    unread_seconds: float = 60  # that a client may leave more than 64 KiB unread
    concurrent: int = 1000  # requests at once
    answer_bytes: int = 32 * 2**20  # of an answer that is not streamed
    stale_seconds: float = 300  # without a confirmed policy read: full precision only from then on
    check_seconds: float = 10  # between two checks of an arm
    flush_seconds: float = 1
    others_seconds: float = 2  # between two looks at feedback that reached other gateways
    beat_seconds: float = 10  # between two signs of life
    passed_on: int = 10_000  # feedback on other gateways' answers that waits for the database
    remembered: int = 100_000  # conversations counted, answers that feedback can name
    queued_requests: int = 10_000  # request rows that wait for the sink
    counter_rows: int = 200_000  # rows that wait for the sink, before minutes are merged
    text_characters: int = 8_000  # of a sampled prompt
    looked_a_minute: int = 300  # conversations whose features are counted for drift; above it only some, drawn by hash
    handed_seconds: float = 300  # between two times these counts go to the sink
