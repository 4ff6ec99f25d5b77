"""What does not fit the context is an error that names the item, never a silent cut."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, cast

from quantplay.errors import Fault, InputError

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance


def arguments_of(request: Instance) -> tuple[Any, ...]:
    """What lm-eval hands to the model: (prompt, generation arguments) or (prompt, continuation) or (text,)."""
    return cast("tuple[Any, ...]", request.args)


def name_of(request: Instance) -> str:
    """The item's id, or the task and the document's number where it has none."""
    doc = request.doc if isinstance(request.doc, dict) else {}
    return str(doc.get("id") or f"{request.task_name}-{request.doc_id}")


def require_fit(needs: Iterable[tuple[str, int, int]], context_tokens: int) -> None:
    """Raise InputError naming every (item, prompt tokens, further tokens) that does not fit `context_tokens`."""
    found = (
        Fault(
            where=name,
            what="the prompt and its answer do not fit the context",
            value=f"{prompt} + {further} tokens",
            allowed=f"up to {context_tokens} tokens together",
        )
        for name, prompt, further in needs
        if prompt + further > context_tokens
    )
    faults = list(dict.fromkeys(found))  # the choices of one item may all be too long
    if faults:
        raise InputError(
            f"{len(faults)} items are too long for a context of {context_tokens} tokens",
            faults=faults,
            fix="raise the context (`envelope.context_tokens` of a plan, `--context` of `quantplay evaluate`; within what the model was trained for), "
            "lower the longest answer (`decoding.max_tokens`, `--max-tokens`), or shorten the items",
        )


def answer_tokens(requests: Sequence[Instance]) -> list[int]:
    """The longest answer that each generate_until request asks for, in tokens."""
    return [int(arguments_of(request)[1]["max_gen_toks"]) for request in requests]
