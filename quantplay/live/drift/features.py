"""What is noted of one conversation's first request: a few small numbers, and hashes of some of its words. No text.

The same function reads live requests in a gateway and the samples of a calibration set, so that their counts can be compared.
Nothing here fails, whatever the JSON holds: what is not understood counts as empty.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from quantplay.calibration.domain import marks_of
from quantplay.live.drift.languages import language_of

HEAD, TAIL = 2000, 4000  # characters of a request that are read: how it begins, and more of how it ends
MARKS = 32  # words and marks hashed of a conversation, evenly spaced: no long one outweighs the others
BUCKETS = 256
PARTS = 4096  # of a request's messages that are read; more cost time and say nothing new
LAST_LENGTH, LAST_TURNS = 47, 15  # last bucket, which holds everything beyond
CODE, JSON, TOOLS = 1, 2, 4  # bits of `form`
FENCED = re.compile(r"```|~~~")
# Lines that begin or end as program text does, in the languages people ask about.
CODE_LINE = re.compile(
    r"(?m)^[ \t]*(?:def |class |import |from [\w.]+ import |#include|using |public |private |static |func |fn |function |const |let "
    r"|var |return\b|elif |while \(|if \(|for \(|SELECT |INSERT |</?[a-z][\w-]*[ >])|[;{}][ \t]*$|^[ \t]*@\w+$"
)
CODE_LINES = 3  # from which a text holds code without saying so
JSON_PIECE = re.compile(r'\{\s{0,20}"[^"\n]{1,80}"\s{0,5}:\s{0,5}["\[{\d\-tfn]|\[\s{0,20}\{\s{0,20}"')


@dataclass(frozen=True, kw_only=True)
class Features:
    """One conversation as it begins."""

    words: int  # bucket of its length, half a doubling wide
    turns: int | None  # bucket of the user's messages so far; None for a text that is no conversation
    language: int  # place in LANGUAGES
    form: int  # bits: CODE, JSON, TOOLS
    marks: tuple[int, ...]  # buckets of at most MARKS words and punctuation marks
    answer: int | None = None  # bucket of the answer's tokens; None where there was none

    def counts(self) -> Iterator[str]:
        """Names of the counters that rise, one each."""
        yield f"words:{self.words}"
        yield f"language:{self.language}"
        yield f"form:{self.form}"
        if self.turns is not None:
            yield f"turns:{self.turns}"
        if self.answer is not None:
            yield f"answer:{self.answer}"
        for mark in self.marks:
            yield f"mark:{mark}"


def length_bucket(number: float, last: int = LAST_LENGTH) -> int:
    """0 for 0, then half a doubling each: bucket b holds numbers from 2^(b/2) - 1 on."""
    return min(last, int(2 * math.log2(1 + max(0.0, number))))


def bucket_start(bucket: int) -> float:
    return 2 ** (bucket / 2) - 1


def of_text(text: str) -> Features:
    """Of a calibration sample: a text, of which nobody knows what in it was asked and what answered."""
    return of_parts([text], turns=None, tools=False)


def of_request(fields: Mapping[str, Any], answer_tokens: int | None = None) -> Features:
    """Of a request's JSON fields. answer_tokens: how long its whole answer was."""
    parts, turns, tools = read(fields)
    bucket = None if answer_tokens is None else length_bucket(answer_tokens)
    return of_parts(parts, turns=length_bucket(turns, LAST_TURNS), tools=tools, answer=bucket)


def read(fields: Mapping[str, Any]) -> tuple[list[str], int, bool]:
    """Its texts, how many messages are the user's, and whether tools are offered or called."""
    messages, tools = fields.get("messages"), bool(fields.get("tools") or fields.get("functions"))
    if not isinstance(messages, list):
        prompt = fields.get("prompt")
        found = prompt[:PARTS] if isinstance(prompt, list) else [prompt]
        return [part for part in found if isinstance(part, str)], 1, tools
    texts, turns = [], 0
    for message in messages if len(messages) <= PARTS else messages[: PARTS // 2] + messages[-PARTS // 2 :]:
        if not isinstance(message, dict):
            continue
        role, content = message.get("role"), message.get("content")
        turns += role == "user"
        tools = tools or role in ("tool", "function") or bool(message.get("tool_calls"))
        if isinstance(content, str):
            texts.append(content)
        elif isinstance(content, list):
            texts += [
                part["text"] for part in content[:PARTS] if isinstance(part, dict) and isinstance(part.get("text"), str)
            ]
    return texts, turns, tools


def of_parts(parts: list[str], *, turns: int | None, tools: bool, answer: int | None = None) -> Features:
    length = sum(map(len, parts))
    piece = both_ends(parts, length)
    marks = marks_of(piece)
    words = [mark for mark in marks if mark[0].isalnum()]
    code = FENCED.search(piece) is not None or sum(1 for _ in CODE_LINE.finditer(piece)) >= CODE_LINES
    form = CODE * code | JSON * (JSON_PIECE.search(piece) is not None) | TOOLS * tools
    chosen = marks if len(marks) <= MARKS else [marks[number * len(marks) // MARKS] for number in range(MARKS)]
    return Features(
        words=length_bucket(len(words) * (length / (HEAD + TAIL) if length > HEAD + TAIL else 1.0)),
        turns=turns,
        language=language_of(piece, words),
        form=form,
        marks=tuple(zlib.crc32(mark.encode("utf-8", "surrogatepass")) % BUCKETS for mark in chosen),
        answer=answer,
    )


def both_ends(parts: list[str], length: int) -> str:
    """The texts a line each; of long ones how they begin and how they end."""
    if length <= HEAD + TAIL:
        return "\n".join(parts)
    head, room = [], HEAD
    for part in parts:
        head.append(part[:room])
        room -= len(head[-1])
        if room <= 0:
            break
    tail, room = [], TAIL
    for part in reversed(parts):
        tail.append(part[-room:])
        room -= len(tail[-1])
        if room <= 0:
            break
    return "\n".join([*head, *reversed(tail)])
