"""The model's tokenizer.json, loaded as every runtime will load it; and that each of its tokens has an embedding."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from quantplay.errors import Fault
from quantplay.evalset import vocabulary_size

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def open_tokenizer(model_folder: Path) -> Tokenizer | Fault | None:
    """The tokenizer, what is wrong with its file, or None where the model has no tokenizer.json (SentencePiece alone)."""
    path = model_folder / "tokenizer.json"
    if not path.is_file():
        return None
    from tokenizers import Tokenizer

    try:
        loaded = Tokenizer.from_file(str(path))
    except Exception as error:  # noqa: BLE001 - the library raises plain Exception
        return Fault(
            where=str(path), what="the tokenizer can't be loaded", value=str(error),
            allowed="a tokenizer.json that the tokenizers library reads", fix="copy it again from where the weights came from",
        )  # fmt: skip
    loaded.no_truncation()
    loaded.no_padding()
    return loaded


def vocabulary_faults(tokenizer: Tokenizer, model_folder: Path) -> Iterator[Fault]:
    """A token without a row in the embedding would be read from somewhere else, or crash the runtime."""
    rows = vocabulary_size(model_folder)
    tokens = tokenizer.get_vocab(with_added_tokens=True)
    last = max(tokens, key=lambda token: tokens[token], default=None)
    if rows is None or last is None or tokens[last] < rows:
        return
    beyond = sum(number >= rows for number in tokens.values())
    yield Fault(
        where=str(model_folder / "tokenizer.json"), what=f"{beyond} tokens have no row in the model's embedding",
        value=f"{last!r} is number {tokens[last]}", allowed=f"numbers below {rows}",
        fix="use tokenizer and weights of one model; after adding tokens, save the model with its larger embedding",
    )  # fmt: skip
