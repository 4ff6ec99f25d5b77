"""What a runtime was asked and how it was set up: what can change although every weight, item and line of the harness is the same."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from quantplay.digest import digest_of

if TYPE_CHECKING:
    from lm_eval.api.model import TemplateLM


def asked(lm: TemplateLM, samples: Mapping[str, Sequence[Mapping[str, Any]]]) -> tuple[str, str]:
    """Digests of all requests, as text with their settings and as token ids; neither depends on the order of the items.

    A changed template shows in the first, a changed tokenizer in the second, though every weight and item is the same.
    """
    requests = [arguments for found in samples.values() for sample in found for arguments in sample["arguments"]]
    texts = sorted({"".join(part for part in arguments if isinstance(part, str)) for arguments in requests})
    prompts = sorted(digest_of(json.loads(json.dumps(arguments, default=str))) for arguments in requests)
    return digest_of(prompts), digest_of([[int(token) for token in lm.tok_encode(text)] for text in texts])


def serving_of(lm: Any) -> dict[str, str]:
    """How the runtime is set up, beside the prompts and the weights."""
    for holder in (lm, lm.model):
        if hasattr(holder, "serving"):
            return holder.serving
    return {"weights held as": str(lm.model.dtype).removeprefix("torch.")}
