"""A served model as an lm-eval model: lm-eval's own client of OpenAI-compatible completions."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lm_eval.models.openai_completions import LocalCompletionsAPI
from lm_eval.models.utils import has_bos_prefix

from quantplay.engines.transformers_model import load_tokenizer
from quantplay.errors import InputError, ServiceUnavailable
from quantplay.harness.limits import answer_tokens, arguments_of, name_of, require_fit
from quantplay.harness.server import Server
from quantplay.harness.server_command import body_of

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance

Base: Any = LocalCompletionsAPI  # its register decorator hides the class from a type checker
RETRIES = 2
ANSWER_SECONDS = 600  # a request, with nobody before it


class ServerLM(Base):
    """The client as it is; only what does not fit the context is refused by name, and an answer keeps no leading space that
    SentencePiece writes into its first word and transformers drops.

    vLLM gets token ids; llama.cpp's server takes text only and makes the same tokens of it, begin-of-text included.
    """

    def __init__(self, server: Server, tokenizer: Path, *, context_tokens: int, concurrency: int) -> None:
        self.takes_tokens = server.runtime == "vllm"
        super().__init__(
            base_url=f"{server.url}/completions",
            model=server.alias,
            tokenizer_backend="huggingface",
            tokenizer=str(tokenizer),
            tokenized_requests=self.takes_tokens,
            add_bos_token=self.takes_tokens,
            num_concurrent=concurrency,
            max_retries=RETRIES,
            timeout=ANSWER_SECONDS * concurrency,  # a server may take one request at a time
            max_length=context_tokens + 1,
            seed=0,
        )
        self.tokenizer = load_tokenizer(tokenizer)
        self.begin: Any = self.tokenizer.bos_token
        self.serving = server.fingerprint
        self.every_request = body_of(server.runtime)
        self.leading_space = " " if is_sentence_piece(self.tokenizer) else ""

    def tok_encode(self, string: str | Sequence[str], **kwargs: Any) -> Any:
        """Token ids of a text or of each of several: with begin-of-text where the server gets ids and the text does not bring it."""
        if not isinstance(string, str):
            return [self.tok_encode(one) for one in string]
        add = self.takes_tokens and not has_bos_prefix(string, self.begin)
        return self.tokenizer(string, add_special_tokens=add, return_attention_mask=False).input_ids

    def decode_batch(self, tokens: list[list[int]]) -> list[str]:
        """Texts that become these tokens again. Raises InputError where there is none: losses would be those of other words."""
        texts = self.tokenizer.batch_decode(tokens)
        for text, wanted in zip(texts, tokens, strict=True):
            if self.tok_encode(text) != wanted:
                raise InputError(
                    "a prompt and its answer can't be sent to this server as text: it would read other tokens",
                    value=repr(text[-80:]), fix="score this model in process: envelope.runtime llama.cpp",
                )  # fmt: skip
        return texts

    def _create_payload(self, *arguments: Any, **kwargs: Any) -> dict[str, Any]:
        return super()._create_payload(*arguments, **kwargs) | self.every_request

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
        return super().loglikelihood(requests, disable_tqdm=True)

    def _loglikelihood_tokens(self, requests: Sequence[Any], **kwargs: Any) -> list[tuple[float, bool]]:
        try:
            return super()._loglikelihood_tokens(requests, **kwargs)
        except InputError:
            raise
        except Exception as error:
            raise no_answer(error) from error

    @staticmethod
    def parse_logprobs(
        outputs: Any, tokens: Sequence[Sequence[int]], ctxlens: Sequence[int], **_: Any
    ) -> list[tuple[float, bool]]:
        """Summed log-probability of each text's tokens from `ctxlens` on, and whether each was the likeliest.

        lm-eval takes the last entry for a token that the model went on with; there is none where it ended the text at once.
        """
        found = []
        answered = outputs if isinstance(outputs, list) else [outputs]
        choices = [one for output in answered for one in sorted(output["choices"], key=itemgetter("index"))]
        for choice, text, start in zip(choices, tokens, ctxlens, strict=True):
            values = choice["logprobs"]["token_logprobs"][start : len(text)]
            likeliest = choice["logprobs"]["top_logprobs"][start : len(text)]
            if len(values) != len(text) - start:
                raise ValueError(f"log-probabilities of {len(values)} tokens where {len(text) - start} were asked for")
            greedy = all(value == max(top.values()) for value, top in zip(values, likeliest, strict=True))
            found.append((sum(values), greedy))
        return found

    def lengths(self, texts: list[str]) -> list[int]:
        """Tokens of each text, begin-of-text included."""
        return [len(tokens) for tokens in self.tokenizer(texts)["input_ids"]] if texts else []


def is_sentence_piece(tokenizer: Any) -> bool:
    return bool(tokenizer.tokenize("a")[:1] == ["▁a"])


def no_answer(error: Exception) -> ServiceUnavailable:
    return ServiceUnavailable(
        f"the server gave no usable answer: {type(error).__name__}: {error}",
        fix="its log says why; often too little memory for that many requests at once: lower envelope.batch",
    )
