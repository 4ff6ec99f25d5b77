"""A model folder as an lm-eval model: lm-eval's own HFLM, float32, plus an error where HFLM would cut a prompt."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lm_eval.models.huggingface import HFLM

from quantplay.engines.transformers_model import load_model, load_tokenizer
from quantplay.harness.limits import answer_tokens, arguments_of, name_of, require_fit

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance


Base: Any = HFLM  # its register decorator hides the class from a type checker


class TransformersLM(Base):
    """HFLM as it is; only what does not fit the context is refused by name instead of cut from the left."""

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        lengths = self.lengths([arguments_of(request)[0] for request in requests])
        needs = zip(map(name_of, requests), lengths, answer_tokens(requests), strict=True)
        require_fit(needs, self.max_length)
        return super().generate_until(requests, disable_tqdm=True)

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        lengths = self.lengths(["".join(arguments_of(request)) for request in requests])
        require_fit(zip(map(name_of, requests), lengths, [0] * len(lengths), strict=True), self.max_length)
        return super().loglikelihood(requests, disable_tqdm=True)

    def sample(
        self,
        prompts: Sequence[str],
        *,
        samples: int,
        temperature: float,
        seed: int,
        max_tokens: int,
        stop: Sequence[str],
    ) -> list[list[str]]:
        """`samples` answers to every prompt, drawn at `temperature` from the whole distribution.

        The same prompts in the same order and batch size give the same answers.
        """
        import torch
        from lm_eval.api.instance import Instance

        drawn: dict[str, Any] = {"do_sample": True, "temperature": temperature, "top_k": 0, "max_gen_toks": max_tokens}
        requests = [
            Instance("generate_until", {}, (prompt, {**drawn, "until": list(stop)}), number, ("sampled", number, 1))
            for number, prompt in enumerate(prompts)
            for _ in range(samples)
        ]
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(seed)
            answers = self.generate_until(requests) if requests else []
        return [answers[start : start + samples] for start in range(0, len(answers), samples)]

    def lengths(self, texts: list[str]) -> list[int]:
        """Tokens of each text, begin-of-text included."""
        return [len(tokens) for tokens in self.tokenizer(texts)["input_ids"]]


def open_transformers(folder: Path, *, dtype: str, batch: int, context_tokens: int) -> TransformersLM:
    """The model in `folder` on the CPU, `batch` prompts at a time, at most `context_tokens` of what it was trained for."""
    from transformers import GenerationConfig

    model, tokenizer = load_model(folder, dtype=dtype), load_tokenizer(folder)
    # A repetition penalty or the like in the model's own generation_config.json would hold in this runtime only.
    kept = ("bos_token_id", "eos_token_id", "pad_token_id")
    plain = {name: getattr(model.generation_config, name) for name in kept}
    model.generation_config = GenerationConfig(**plain)
    lm = TransformersLM(model, backend="causal", tokenizer=tokenizer, batch_size=batch)
    lm._max_length = min(context_tokens, lm.max_length)
    return lm
