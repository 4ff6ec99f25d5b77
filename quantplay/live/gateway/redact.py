"""Prompt text that may be stored: only the texts, shortened, without what looks like a secret or a person."""

from __future__ import annotations

import re
from typing import Any

RULES = (
    (re.compile(r"[\w.+-]+@[\w-]+(\.[\w-]+)+"), "[email]"),
    (re.compile(r"https?://\S+"), "[address]"),
    (re.compile(r"-----BEGIN [^-]+-----.*?(-----END [^-]+-----|\Z)", re.DOTALL), "[key]"),
    (re.compile(r"\b(?=[\w-]*[A-Za-z])(?=[\w-]*\d)[\w-]{20,}\b"), "[key]"),  # letters and digits, too long for a word
    (re.compile(r"(?i)\b(bearer|password|passwd|secret|token|api[_-]?key)\b(\s*(?:is|[:=])?\s*)\S+"), r"\1\2[secret]"),
    (
        re.compile(r"\+?\d(?:[ ().,/-]?\d){3,}"),
        "[number]",
    ),  # telephones, cards, accounts; years too, which is the price
)


def redacted(text: str) -> str:
    for pattern, instead in RULES:
        text = pattern.sub(instead, text)
    return text


def texts_of(fields: dict[str, Any]) -> str:
    """The texts of a request's messages or prompt, a line each; no images, no tools."""
    if "messages" not in fields:
        prompt = fields.get("prompt")
        parts = prompt if isinstance(prompt, list) else [prompt]
        return "\n".join(part for part in parts if isinstance(part, str))
    found = []
    for message in fields["messages"]:
        content = message.get("content")
        parts = content if isinstance(content, list) else [{"text": content}]
        found += [part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str)]
    return "\n".join(found)


def stored_text(fields: dict[str, Any], characters: int) -> str:
    # Cut before the rules run, so that a long text costs little, and by more than is kept, so that no cut halves a secret.
    return redacted(texts_of(fields)[: 2 * characters])[:characters]
