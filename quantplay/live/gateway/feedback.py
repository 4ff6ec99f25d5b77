"""What users did with an answer, told by the response id: counted once a conversation, for the arm it was assigned to.

What another gateway answered is passed on to it, and the client is told that (202).
"""

from __future__ import annotations

import json

from quantplay.live.gateway.answers import Receive, Refused, Scope, Send, send_refused, send_whole
from quantplay.live.gateway.asked import ClientGone, bad, read_body, read_fields
from quantplay.live.gateway.gateway import Gateway
from quantplay.records.traffic import FeedbackRow

SIGNALS = ("thumbs_up", "thumbs_down", "escalation", "downstream_error")


class Feedback:
    """ASGI application."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            client = self.gateway.keyring.client(scope)
            with self.gateway.admitted(), client.admitted():
                fields, _, _ = read_fields(await read_body(scope, receive, self.gateway.limits))
                counted = self.count(fields, client.key.sha256)
            body = {"id": fields["id"], "signal": fields["signal"], "counted": bool(counted)}
            await send_whole(send, 202 if counted is None else 200, json.dumps(body).encode())
        except Refused as refused:
            await send_refused(send, refused, [(b"connection", b"close")] if refused.status in (408, 413) else [])
        except ClientGone:
            return

    def count(self, fields: dict[str, object], client: str) -> bool | None:
        """False where the conversation has this signal already; None where another gateway has to say."""
        response, signal = fields.get("id"), fields.get("signal")
        if unknown := sorted(fields.keys() - {"id", "signal"}):
            raise bad(f"{unknown[0][:100]!r} is not a field of feedback", unknown[0][:100])
        if not isinstance(response, str):
            raise bad("id has to be the id of an answer", "id")
        if not isinstance(signal, str) or signal not in SIGNALS:
            raise bad(f"signal has to be one of {', '.join(SIGNALS)}", "signal")
        answered = self.gateway.telemetry.ledger.answers.get(response)
        told = FeedbackRow(id=response, client=client, signal=signal)
        if answered is None and self.gateway.elsewhere.passes_on(told):
            return None
        if answered is None or answered.client != client:  # of another client: as unknown as one that never was
            raise Refused(404, "response_not_found", "no such answer, or too long ago", param="id")
        return self.gateway.telemetry.once(answered.exposed, signal)
