"""A request's body: read within limits, understood as far as needed, its model replaced and nothing else."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any, Literal

from quantplay.live.gateway.answers import Receive, Refused, Scope
from quantplay.live.gateway.limits import Limits

Operation = Literal["chat", "text_completion"]
SPACE = re.compile(r"[ \t\n\r]*")


def refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


DECODER = json.JSONDecoder(parse_constant=refuse_constant)


class ClientGone(Exception):
    """The client closed its connection before its request was whole."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the gateway needs to know of a request."""

    endpoint: str
    stream: bool
    opening: str  # what all turns of its conversation begin with, as JSON
    fields: dict[str, Any]
    before: str  # the body up to the value of `model`
    after: str

    def body_for(self, model: str) -> bytes:
        """The body with another model; every other character as the client sent it."""
        return f"{self.before}{json.dumps(model)}{self.after}".encode()


def header(scope: Scope, name: bytes) -> bytes | None:
    return next((value for key, value in scope["headers"] if key == name), None)


async def read_body(scope: Scope, receive: Receive, limits: Limits) -> bytes:
    """Raises Refused where it is too large, too slow or not JSON by its own account; ClientGone where it never ends."""
    kind = (header(scope, b"content-type") or b"").split(b";")[0].strip().lower()
    if kind != b"application/json":
        raise Refused(415, "unsupported_media_type", "the body has to be JSON: send content-type: application/json")
    if int(header(scope, b"content-length") or 0) > limits.body_bytes:
        raise too_large(limits)
    parts, size = [], 0
    try:
        async with asyncio.timeout(limits.body_seconds):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    raise ClientGone
                part = message.get("body", b"")
                size += len(part)
                if size > limits.body_bytes:
                    raise too_large(limits)
                parts.append(part)
                if not message.get("more_body"):
                    return b"".join(parts)
    except TimeoutError:
        raise Refused(408, "request_timeout", f"the body did not arrive within {limits.body_seconds:g} s") from None


def too_large(limits: Limits) -> Refused:
    return Refused(413, "request_too_large", f"the body may have at most {limits.body_bytes} bytes")


def read_fields(body: bytes) -> tuple[dict[str, Any], dict[str, tuple[int, int]], str]:
    """The top-level fields of a JSON object, where each value stands, and the text. Raises Refused, also for a name given twice.

    A name given twice could mean one thing here and another to the server behind.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise bad("the body is not UTF-8 text") from None
    fields: dict[str, Any] = {}
    spans: dict[str, tuple[int, int]] = {}

    def space(at: int) -> int:
        found = SPACE.match(text, at)
        return found.end() if found else at

    def expect(what: str, at: int) -> int:
        if text[at : at + 1] != what:
            raise bad(f"the body is not a JSON object: {what} is missing at character {at}")
        return at + 1

    try:
        at = space(expect("{", space(0)))
        while text[at : at + 1] != "}" or fields:
            name, at = DECODER.raw_decode(text, at)
            if not isinstance(name, str):
                raise bad("the body is not a JSON object: a name is no text")
            if name in fields:
                raise bad(f"{name[:100]!r} is given twice", param=name[:100])
            start = space(expect(":", space(at)))
            fields[name], at = DECODER.raw_decode(text, start)
            spans[name] = (start, at)
            at = space(at)
            if text[at : at + 1] == "}":
                break
            at = space(expect(",", at))
        at = space(expect("}", at))
    except RecursionError:
        raise bad("the body is nested too deeply") from None
    except ValueError as error:
        raise bad(f"the body is not JSON: {str(error)[:200]}") from None
    if at != len(text):
        raise bad(f"the body goes on after its end, at character {at}")
    return fields, spans, text


def bad(message: str, param: str | None = None) -> Refused:
    return Refused(400, "invalid_request", message, param=param)


def understand(body: bytes, operation: Operation) -> Asked:
    """Raises Refused with the parameter that is wrong. What only the server behind can judge is left to it."""
    fields, spans, text = read_fields(body)
    endpoint, stream = fields.get("model"), fields.get("stream")
    if not isinstance(endpoint, str) or not endpoint:
        raise bad("model has to name an endpoint, see GET /v1/models", "model")
    if stream is not None and not isinstance(stream, bool):
        raise bad("stream has to be true or false", "stream")
    if operation == "chat":
        messages = fields.get("messages")
        if not isinstance(messages, list) or not messages or not all(isinstance(one, dict) for one in messages):
            raise bad("messages has to be a list of at least one message", "messages")
        first = next((n for n, one in enumerate(messages) if one.get("role") == "user"), len(messages) - 1)
        opening: Any = messages[: first + 1]
    else:
        opening = fields.get("prompt")
        if not isinstance(opening, str | list) or not opening:
            raise bad("prompt has to be a text or a list", "prompt")
    start, end = spans["model"]
    return Asked(
        endpoint=endpoint, stream=bool(stream), fields=fields, before=text[:start], after=text[end:],
        opening=json.dumps(opening, sort_keys=True),
    )  # fmt: skip


def conversation_of(asked: Asked, named: bytes | None, client: str) -> str:
    """32 hexadecimal digits, the same for all turns: of the header's name, else of how the conversation begins."""
    told = f"n:{named.decode('latin-1')}" if named else f"o:{asked.opening}"
    return hashlib.blake2b(f"{client}\n{told}".encode(), digest_size=16).hexdigest()
