"""A GGUF file as an lm-eval model, in process through llama.cpp."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from lm_eval import utils
from lm_eval.api.model import TemplateLM
from lm_eval.models.utils import has_bos_prefix

from quantplay.engines.llama_cpp import LlamaModel
from quantplay.harness.limits import answer_tokens, arguments_of, name_of, require_fit

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance

TokenRequest = tuple[Any, list[int], list[int]]
"""(cache key or None, prompt tokens, continuation tokens), as TemplateLM hands it on."""


class LlamaLM(TemplateLM):
    """lm-eval's three requests on a `LlamaModel`; everything between text and tokens is lm-eval's TemplateLM.

    As lm-eval's HFLM does it: special tokens in a prompt's text are tokens, the begin-of-text token is added where the
    model wants one and the text does not bring it, trailing space of a context belongs to its continuation.
    """

    def __init__(self, model: LlamaModel) -> None:
        super().__init__()
        self.model = model
        self.bos: int = model.library.llama_vocab_bos(model.vocab)
        self.eos: int = model.library.llama_vocab_eos(model.vocab)
        self.bos_text = model.library.llama_vocab_get_text(model.vocab, self.bos).decode() if self.bos >= 0 else None
        # SentencePiece writes the space before a word into the word; transformers drops it at the start of an answer.
        sentence_piece = model.library.llama_vocab_type(model.vocab) == model.library.LLAMA_VOCAB_TYPE_SPM
        self.leading_space = " " if sentence_piece else ""
        self.remembers = False
        self.known: dict[tuple[str, bool], list[int]] = {}  # texts whose tokens are asked for more than once

    @property
    def max_length(self) -> int:
        """Tokens that prompt and answer may have together."""
        return min(self.model.context_tokens, self.model.library.llama_model_n_ctx_train(self.model.model))

    @property
    def eot_token_id(self) -> int:
        return self.eos

    @property
    def prefix_token_id(self) -> int:
        return self.bos if self.bos >= 0 else self.eos

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **kwargs: Any) -> list[int]:
        if add_special_tokens is None:
            add_special_tokens = not has_bos_prefix(string, self.bos_text)
        known = self.known.get((string, add_special_tokens))
        if known is not None:
            return known
        data = string.encode()
        buffer = (ctypes.c_int32 * (len(data) + 8))()
        # The last argument: special tokens written out in the text are parsed, as HFLM's tokenizer does.
        arguments = (self.model.vocab, data, len(data), buffer, len(buffer), add_special_tokens, True)
        count = self.model.library.llama_tokenize(*arguments)
        assert count >= 0, "llama.cpp made more tokens than there are bytes"
        tokens = buffer[:count]
        if self.remembers:
            self.known[string, add_special_tokens] = tokens
        return tokens

    def generate_until(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[str]:
        """The greedy answer of every request, cut at its stop strings."""
        prompts = [self.tok_encode(arguments_of(request)[0]) for request in requests]
        longest = answer_tokens(requests)
        require_fit(zip(map(name_of, requests), map(len, prompts), longest, strict=True), self.max_length)
        answers = [""] * len(requests)
        for (max_tokens, stop), group in by_arguments(requests, longest).items():
            found = self.model.generate(
                [prompts[index] for index in group],
                max_tokens=max_tokens,
                stop=stop,
                on_done=self.reporter("generate_until", [requests[index].args for index in group]),
            )
            for index, generation in zip(group, found, strict=True):
                answers[index] = generation.text.removeprefix(self.leading_space)
        return answers

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        self.remembers = True  # every text is asked for again: the whole by TemplateLM, the prompt with each choice
        try:
            needs = ((name_of(r), len(self.tok_encode("".join(arguments_of(r)))), 0) for r in requests)
            require_fit(needs, self.max_length)
            return super().loglikelihood(requests, disable_tqdm=True)
        finally:
            self.remembers = False
            self.known.clear()

    def _loglikelihood_tokens(
        self, requests: Sequence[TokenRequest], disable_tqdm: bool = False, **kwargs: Any
    ) -> list[tuple[float, bool]]:
        report = self.reporter("loglikelihood", [key for key, _, _ in requests])
        scored = self.model.score([(prompt, continuation) for _, prompt, continuation in requests], on_done=report)
        return [(one.log_probability, one.greedy) for one in scored]

    def loglikelihood_rolling(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[float]:
        """Log-likelihood of whole texts, in disjoint windows of the context's length as HFLM cuts them."""
        totals = []
        for request in requests:
            windows = utils.get_rolling_token_windows(
                token_list=self.tok_encode(arguments_of(request)[0]),
                prefix_token=self.prefix_token_id,
                max_seq_len=self.max_length - 1,  # the first token of a window is its context
                context_len=1,
            )
            pairs = [(None, *utils.make_disjoint_window(window)) for window in windows]
            totals.append(sum(log_probability for log_probability, _ in self._loglikelihood_tokens(pairs)))
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, totals[-1])
        return totals

    def reporter(self, kind: str, keys: Sequence[Any]) -> Callable[[int], None]:
        """Tell lm-eval's cache hook of every finished request: quality.py counts progress there."""

        def report(index: int) -> None:
            if keys[index] is not None:
                self.cache_hook.add_partial(kind, keys[index], None)

        return report


def by_arguments(requests: Sequence[Instance], longest: Sequence[int]) -> dict[tuple[int, tuple[str, ...]], list[int]]:
    """(max_tokens, stop strings) -> indices of the requests that ask for them."""
    groups: dict[tuple[int, tuple[str, ...]], list[int]] = {}
    for index, (request, max_tokens) in enumerate(zip(requests, longest, strict=True)):
        until = arguments_of(request)[1].get("until") or []
        stop = tuple([until] if isinstance(until, str) else until)
        groups.setdefault((max_tokens, stop), []).append(index)
    return groups
