"""A served model as an lm-eval model: lm-eval's own client of OpenAI-compatible completions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lm_eval.models.openai_completions import LocalCompletionsAPI

from quantplay.engines.transformers_model import load_tokenizer
from quantplay.errors import ServiceUnavailable
from quantplay.harness.limits import answer_tokens, arguments_of, name_of, require_fit
from quantplay.harness.server import Server

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance

Base: Any = LocalCompletionsAPI  # its register decorator hides the class from a type checker
RETRIES = 2
ANSWER_SECONDS = 600


class ServerLM(Base):
    """The client as it is; only what does not fit the context is refused by name, and an answer keeps no leading space that
    SentencePiece writes into its first word and transformers drops."""

    def __init__(self, server: Server, tokenizer: Path, *, context_tokens: int, concurrency: int) -> None:
        super().__init__(
            base_url=f"{server.url}/completions",
            model=server.alias,
            tokenizer_backend="huggingface",
            tokenizer=str(tokenizer),
            tokenized_requests=False,  # llama.cpp's server takes text only
            num_concurrent=concurrency,
            max_retries=RETRIES,
            timeout=ANSWER_SECONDS,
            max_length=context_tokens + 1,
            seed=0,
        )
        self.tokenizer = load_tokenizer(tokenizer)
        self.serving = server.fingerprint
        self.leading_space = " " if is_sentence_piece(self.tokenizer) else ""

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        lengths = self.lengths([arguments_of(request)[0] for request in requests])
        require_fit(zip(map(name_of, requests), lengths, answer_tokens(requests), strict=True), self.max_length)
        try:
            answers = super().generate_until(requests, disable_tqdm=True)
        except Exception as error:
            raise no_answer(error) from error
        return [answer.removeprefix(self.leading_space) for answer in answers]

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        lengths = self.lengths(["".join(arguments_of(request)) for request in requests])
        require_fit(zip(map(name_of, requests), lengths, [0] * len(lengths), strict=True), self.max_length)
        try:
            return super().loglikelihood(requests, disable_tqdm=True)
        except Exception as error:
            raise no_answer(error) from error

    def lengths(self, texts: list[str]) -> list[int]:
        """Tokens of each text, begin-of-text included."""
        return [len(tokens) for tokens in self.tokenizer(texts)["input_ids"]]


def is_sentence_piece(tokenizer: Any) -> bool:
    return bool(tokenizer.tokenize("a")[:1] == ["▁a"])


def no_answer(error: Exception) -> ServiceUnavailable:
    return ServiceUnavailable(
        f"the server gave no usable answer: {type(error).__name__}: {error}",
        fix="its log says why; often too little memory for that many requests at once: lower envelope.batch",
    )
