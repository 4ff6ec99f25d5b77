"""A model folder that is asked for logits and greedy steps: what divergence and speed need of the transformers runtime.

The names are those of engines/llama_cpp.py, so that one measurement serves both runtimes.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from quantplay.engines.model_file import model_folder
from quantplay.engines.transformers_model import load_model, load_tokenizer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class FolderModel:
    """The model in a folder, or in a file that holds one, at float32 on the CPU with `threads` threads."""

    def __init__(self, model: Path, *, threads: int, context_tokens: int, sequences: int = 1) -> None:
        self.path, self.threads = model, threads
        self.context_tokens, self.sequences = context_tokens, sequences
        self.opened = ExitStack()
        self.cache: Any = None

    def __enter__(self) -> Self:
        import torch

        torch.set_num_threads(self.threads)
        folder = self.opened.enter_context(model_folder(self.path))
        self.model, self.tokenizer = load_model(folder), load_tokenizer(folder)
        return self

    def __exit__(self, *_: object) -> None:
        self.opened.close()

    @property
    def vocabulary(self) -> int:
        return int(self.model.get_input_embeddings().weight.shape[0])  # type: ignore[union-attr]

    @property
    def begin_token(self) -> int | None:
        """The token that every text starts with, or None for a model that has none."""
        begin, first = self.tokenizer.bos_token_id, self.ids("a", True)[0]
        return first if first == begin else None

    @property
    def weights_bytes(self) -> int:
        """Of everything the loaded model holds, a tied matrix once; unpacked where the runtime computes on unpacked weights."""
        held = [*self.model.parameters(), *self.model.buffers()]
        return sum(size for size in {one.data_ptr(): one.nbytes for one in held}.values())

    @property
    def cache_bytes(self) -> int:
        """Keys and values of every sequence as they are now."""
        layers = self.cache.layers if self.cache is not None else ()
        return sum(layer.keys.nbytes + layer.values.nbytes for layer in layers)

    def tokenize(self, text: str) -> list[int]:
        """Tokens of `text` behind the one that every text starts with, where there is one."""
        begin = self.begin_token
        return [*([] if begin is None else [begin]), *self.ids(text, False)]

    def ids(self, text: str, special: bool) -> list[int]:
        return [int(token) for token in self.tokenizer(text, add_special_tokens=special)["input_ids"]]  # type: ignore[arg-type, union-attr]

    def logits(self, tokens: Sequence[int], first: int = 0) -> NDArray[np.float32]:
        """Logits of positions `first` and on, (positions, vocabulary), from an empty cache."""
        import torch

        with torch.inference_mode():
            return self.model(torch.tensor([list(tokens)]), use_cache=False).logits[0, first:].numpy()

    def read(self, prompt: Sequence[int], sequences: int) -> list[int]:
        """`sequences` of them read the prompt from an empty cache; the first token of each."""
        import torch

        with torch.inference_mode():
            done = self.model(torch.tensor([list(prompt)] * sequences), use_cache=True, logits_to_keep=1)
        self.cache = done.past_key_values
        return done.logits[:, -1].argmax(dim=1).tolist()

    def step(self, tokens: Sequence[int]) -> list[int]:
        """One more token in every sequence of the cache: the next ones."""
        import torch

        with torch.inference_mode():
            done = self.model(
                torch.tensor(tokens)[:, None], past_key_values=self.cache, use_cache=True, logits_to_keep=1
            )
        self.cache = done.past_key_values
        return done.logits[:, -1].argmax(dim=1).tolist()

    def spread(self, sequences: int) -> None:
        """The one sequence of the cache becomes `sequences` equal ones."""
        self.cache.batch_repeat_interleave(sequences)
