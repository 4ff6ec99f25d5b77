"""llama.cpp's own log: silent, its last lines kept, so that an error can say what llama.cpp said.

llama.cpp returns null or a number where something fails; the reason is only in its log.
"""

from __future__ import annotations

import ctypes
from collections import deque
from typing import Any

KEPT = 4000  # lines; loading a model writes a few hundred
DEBUG = 1  # enum ggml_log_level; a thousand lines about a graph of 16 layers would push out what a load says
ERROR_LEVELS = frozenset({3, 4})  # warning, error
CONTINUED = 5  # the text belongs to the line before

lines: deque[tuple[int, str]] = deque(maxlen=KEPT)
last: list[int] = [0]  # level of the newest line, kept or not
installed: dict[str, Any] = {}  # llama.cpp keeps a bare pointer: the callback must stay alive


def listen() -> None:
    """Send llama.cpp's log here from now on and forget what was kept. Cheap; called before every load."""
    from llama_cpp import llama_cpp as library

    if "callback" not in installed:
        installed["callback"] = library.llama_log_callback(keep)
    library.llama_log_set(installed["callback"], ctypes.c_void_p(0))
    lines.clear()


def keep(level: int, text: bytes, _user_data: object) -> None:
    continued, last[0] = level == CONTINUED, last[0] if level == CONTINUED else level
    if last[0] == DEBUG:
        return
    line = text.decode(errors="replace")
    if continued and lines:
        level, before = lines.pop()
        line = before + line
    lines.append((level, line))


def last_errors(limit: int = 4) -> str:
    """The last `limit` warnings and errors since `listen`, one a line, without llama.cpp's function names."""
    found = [text.strip() for level, text in lines if level in ERROR_LEVELS and text.strip()]
    return "\n".join(text.split(": ", 1)[-1] for text in found[-limit:])


def text() -> str:
    """All lines kept since `listen`."""
    return "".join(line for _, line in lines)
