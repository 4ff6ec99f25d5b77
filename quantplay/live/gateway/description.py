"""The OpenAPI description of what the gateway itself promises. Fields it does not read are the server's behind it."""

from __future__ import annotations

from typing import Any

from quantplay import __version__
from quantplay.live.gateway.feedback import SIGNALS

Json = dict[str, Any]
WHY = {
    400: "The body is not what it has to be; `param` names the field.",
    401: "No such key.",
    403: "Another machine, and there is no file of keys.",
    404: "No such endpoint, or no such answer.",
    408: "The body came too slowly.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    422: "The server behind refuses the request.",
    429: "Too many requests.",
    431: "The headers are too large.",
    502: "The server behind failed.",
    503: "No server can answer now; see Retry-After.",
    504: "The server behind took too long.",
}
READ = (400, 401, 403, 404, 408, 413, 415, 429, 431)
ANSWERED = (*READ, 422, 502, 503, 504)
TOLD = {
    "x-quantplay-endpoint": "The endpoint, as the request's `model` names it.",
    "x-quantplay-revision": "The revision in force.",
    "x-quantplay-assigned": "The arm of this conversation: quantized or full_precision.",
    "x-quantplay-served": "The arm that answered.",
    "x-quantplay-response-id": "What feedback names; the answer's `id` where the server gives it one.",
}
TEXT = {"type": "string", "minLength": 1}
CONVERSATION = {
    "name": "x-conversation-id", "in": "header", "required": False, "schema": {"type": "string"},
    "description": "Turns with the same name are answered by the same arm. Without it the beginning of the conversation tells.",
}  # fmt: skip


def describe(endpoints: list[str], *, with_metrics: bool) -> Json:
    """Of the addresses that this port answers; the endpoints of this moment are its examples."""
    model = {**TEXT, "description": "An endpoint.", "examples": endpoints}
    paths: Json = {
        "/v1/chat/completions": {"post": completion("Answer a conversation.", chat_request(model))},
        "/v1/completions": {"post": completion("Continue a text.", text_request(model))},
        "/v1/feedback": {"post": feedback()},
        "/v1/models": {"get": simple("The endpoints.", object_of(object=const("list"), data=list_of(ref("Model"))))},
        "/v1/models/{model}": {"get": {
            **simple("One endpoint.", ref("Model"), (404,)),
            "parameters": [{"name": "model", "in": "path", "required": True, "schema": model}],
        }},
        "/healthz": {"get": simple("The process runs.", object_of(status=const("ok")), secured=False)},
        "/readyz": {"get": simple("Requests can be answered.", object_of(status=const("ready")), (503,), secured=False)},
        "/openapi.json": {"get": simple("This description.", {"type": "object"})},
    }  # fmt: skip
    if with_metrics:
        paths["/metrics"] = {"get": simple("Counts, as Prometheus reads them.", {"type": "string"}, kind="text/plain")}
    return {
        "openapi": "3.1.0",
        "info": {"title": "quantplay gateway", "version": __version__},
        "paths": paths,
        "components": {
            "schemas": {"Error": error_schema(), "Model": model_schema()},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def object_of(**properties: Json) -> Json:
    return {"type": "object", "properties": properties, "required": list(properties)}


def list_of(items: Json) -> Json:
    return {"type": "array", "items": items}


def const(value: str) -> Json:
    return {"type": "string", "const": value}


def ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def error_schema() -> Json:
    optional = {"type": ["string", "null"]}
    return object_of(error=object_of(message={"type": "string"}, type=optional, param=optional, code=optional))


def model_schema() -> Json:
    return object_of(id=TEXT, object=const("model"), created={"type": "integer"}, owned_by=const("quantplay"))


def chat_request(model: Json) -> Json:
    return {
        "type": "object",
        "required": ["model", "messages"],
        "properties": {
            "model": model,
            "messages": {**list_of({"type": "object"}), "minItems": 1},
            "stream": {"type": ["boolean", "null"]},
        },
    }


def text_request(model: Json) -> Json:
    return {
        "type": "object",
        "required": ["model", "prompt"],
        "properties": {
            "model": model,
            "prompt": {"anyOf": [TEXT, {"type": "array", "minItems": 1}]},
            "stream": {"type": ["boolean", "null"]},
        },
    }


def errors(statuses: tuple[int, ...]) -> Json:
    content = {"application/json": {"schema": ref("Error")}}
    return {str(status): {"description": WHY[status], "content": content} for status in sorted(statuses)}


def completion(summary: str, body: Json) -> Json:
    whole = {
        "description": "The server's answer, its bytes as they are; also its `model`, which is the server's own name.",
        "headers": {name: {"schema": {"type": "string"}, "description": text} for name, text in TOLD.items()},
        "content": {"application/json": {"schema": {"type": "object"}}, "text/event-stream": {}},
    }  # fmt: skip
    return {
        "summary": summary,
        "security": [{"key": []}, {}],
        "parameters": [CONVERSATION],
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": {"200": whole, **errors(ANSWERED)},
    }


def feedback() -> Json:
    signal = {"type": "string", "enum": list(SIGNALS)}
    request = {**object_of(id={"type": "string"}, signal=signal), "additionalProperties": False}
    answer = object_of(id={"type": "string"}, signal=signal, counted={"type": "boolean"})
    found = simple("What users did with an answer; counted once a conversation.", answer, READ)
    passed_on = "Another gateway gave that answer, if any did: it hears of this within seconds."
    found["responses"]["202"] = {"description": passed_on, "content": {"application/json": {"schema": answer}}}
    return {**found, "requestBody": {"required": True, "content": {"application/json": {"schema": request}}}}


def simple(
    summary: str, body: Json, also: tuple[int, ...] = (), *, secured: bool = True, kind: str = "application/json"
) -> Json:
    found = {"200": {"description": summary, "content": {kind: {"schema": body}}}}
    statuses = {*also, 431, *((401, 403, 429) if secured else ())}
    return {
        "summary": summary,
        "security": [{"key": []}, {}] if secured else [],
        "responses": {**found, **errors(tuple(statuses))},
    }
