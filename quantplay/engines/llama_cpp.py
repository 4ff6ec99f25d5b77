"""A GGUF file in llama.cpp, in this process: text to tokens, greedy and sampled answers, scores, logits.

The low-level bindings, because several sequences share every batch: on a small model a call costs more than the arithmetic.
Every sequence has a key-value stream of its own (`kv_unified` off), so attention never reads other sequences' cells.
"""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from quantplay.engines import llama_log
from quantplay.engines.llama_answers import Generation, Request, answer
from quantplay.engines.llama_batch import Batch, Feed, Rows
from quantplay.engines.llama_score import Scored, score
from quantplay.errors import InputError, InternalError, MissingDependency

CacheType = Literal["f16", "f32", "q8_0", "q4_0"]
GGML_TYPES: dict[CacheType, int] = {"f32": 0, "f16": 1, "q4_0": 2, "q8_0": 8}  # enum ggml_type
FLASH = {None: -1, False: 0, True: 1}  # enum llama_flash_attn_type; -1 lets llama.cpp decide
BATCH_TOKENS = 512  # a call; llama.cpp's own default for its physical batch
MEMORY_SIZE = re.compile(r"^llama_(?:kv_cache|memory_recurrent): size = +([0-9.]+) MiB", re.MULTILINE)
CACHE_TYPES = re.compile(r"^llama_kv_cache: size = .*?\bK \((\w+)\).*?\bV \((\w+)\)", re.MULTILINE)
FLASH_ATTENTION = re.compile(r"Flash Attention (\w+)")


class LlamaModel:
    """A loaded GGUF with one context. A context manager: native memory is given back at its end.

    `context_tokens` is what one sequence may hold, prompt and answer together; `sequences` how many run at a time.
    `cache_type` is the type of the key-value cache. `flash`: None lets llama.cpp decide, but a float32 cache turns it off,
    because flash attention on a CPU rounds keys and values to float16, and quantized values need it. Not safe for use by two threads at a time.
    Raises InputError, with llama.cpp's own words, for a file it can't load.
    """

    def __init__(
        self,
        path: Path,
        *,
        threads: int,
        context_tokens: int,
        sequences: int = 1,
        cache_type: CacheType = "f16",
        flash: bool | None = None,
    ) -> None:
        self.library = load_library()
        self.model: Any = None
        self.context: Any = None
        self.context_tokens, self.sequences = context_tokens, sequences
        if flash is None and cache_type != "f16":
            flash = cache_type != "f32"
        if not path.is_file():
            raise InputError("there is no GGUF file", value=path, allowed="a file written by the GGUF converter")
        llama_log.listen()
        self.model = self.library.llama_model_load_from_file(os.fsencode(path), self.model_parameters())
        if not self.model:
            raise InputError(
                f"llama.cpp can't load this file\n{llama_log.last_errors()}",
                value=path,
                allowed="a complete GGUF of an architecture that llama.cpp knows",
                fix="compare its sha256 with the recorded one, or make it again",
            )
        self.vocab = self.library.llama_model_get_vocab(self.model)
        self.vocabulary: int = self.library.llama_vocab_n_tokens(self.vocab)
        self.context = self.library.llama_init_from_model(
            self.model, self.context_parameters(threads, GGML_TYPES[cache_type], FLASH[flash])
        )
        if not self.context:
            said = llama_log.last_errors()
            self.close()
            raise InputError(
                f"llama.cpp can't set up a context for this model\n{said}",
                value=f"{sequences} sequences of {context_tokens} tokens, cache {cache_type}",
                fix="lower envelope.context_tokens or the batch, or give it more memory",
            )
        self.memory = self.library.llama_get_memory(self.context)
        said = llama_log.text()
        sizes = [float(size) for size in MEMORY_SIZE.findall(said)]
        if not sizes:
            self.close()
            raise InternalError("llama.cpp did not say how large its key-value cache is", value=path)
        self.cache_bytes = round(sum(sizes) * 2**20)
        self.serving = serving_settings(said, flash)
        self.batch = Batch(BATCH_TOKENS)

    def model_parameters(self) -> Any:
        parameters = self.library.llama_model_default_params()
        parameters.n_gpu_layers = 0
        return parameters

    def context_parameters(self, threads: int, cache_type: int, flash: int) -> Any:
        parameters = self.library.llama_context_default_params()
        parameters.n_ctx = self.context_tokens * self.sequences
        parameters.n_seq_max = self.sequences
        parameters.n_batch = parameters.n_ubatch = BATCH_TOKENS
        parameters.n_threads = parameters.n_threads_batch = threads
        parameters.type_k = parameters.type_v = cache_type
        parameters.flash_attn_type = flash
        parameters.kv_unified = False
        parameters.no_perf = True
        return parameters

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Give the native memory back. May be called again; nothing else may be called after it."""
        if getattr(self, "context", None):
            self.library.llama_free(self.context)
        if getattr(self, "model", None):
            self.library.llama_model_free(self.model)
        self.context = self.model = None

    # --- about the file --------------------------------------------------------------------------------------------

    @property
    def weights_bytes(self) -> int:
        """Size of all tensors, as stored."""
        return self.library.llama_model_size(self.model)

    @property
    def description(self) -> str:
        """llama.cpp's own words for architecture, size and type, such as `llama 1B Q4_K - Medium`."""
        buffer = ctypes.create_string_buffer(256)
        self.library.llama_model_desc(self.model, ctypes.cast(buffer, ctypes.c_char_p), len(buffer))  # type: ignore[arg-type]
        return buffer.value.decode(errors="replace")

    @property
    def begin_token(self) -> int | None:
        """The token that every text starts with, or None for a model that has none."""
        if not self.library.llama_vocab_get_add_bos(self.vocab):
            return None
        return self.library.llama_vocab_bos(self.vocab)

    # --- text ------------------------------------------------------------------------------------------------------

    def tokenize(self, text: str, add_bos: bool = True) -> list[int]:
        """Tokens of `text`. `add_bos`: with the special tokens the model asks for at the start. Text that looks like a
        special token stays text."""
        data = text.encode()
        size = len(data) + 8
        buffer = (ctypes.c_int32 * size)()
        count = self.library.llama_tokenize(self.vocab, data, len(data), buffer, size, add_bos, False)
        if count < 0:
            raise InternalError("llama.cpp returned more tokens than bytes", value=f"{count} for {len(data)} bytes")
        return buffer[:count]

    def detokenize(self, tokens: Sequence[int]) -> str:
        """Text of `tokens`, special tokens left out; bytes that are no UTF-8 become U+FFFD."""
        return b"".join(self.piece(token) for token in tokens).decode(errors="replace")

    @cached_property
    def pieces(self) -> dict[int, bytes]:
        return {}

    def piece(self, token: int) -> bytes:
        """UTF-8 bytes of one token; empty for special tokens."""
        found = self.pieces.get(token)
        if found is None:
            buffer = ctypes.create_string_buffer(64)
            args = (self.vocab, token)
            count = self.library.llama_token_to_piece(*args, buffer, len(buffer), 0, False)
            if count < 0:
                buffer = ctypes.create_string_buffer(-count)
                count = self.library.llama_token_to_piece(*args, buffer, len(buffer), 0, False)
            found = self.pieces[token] = buffer.raw[:count]
        return found

    @cached_property
    def ends(self) -> frozenset[int]:
        """Tokens that end an answer (EOS, EOT and the like)."""
        is_end = self.library.llama_vocab_is_eog
        return frozenset(token for token in range(self.vocabulary) if is_end(self.vocab, token))

    # --- work ------------------------------------------------------------------------------------------------------

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        max_tokens: int,
        stop: Sequence[str] = (),
        on_done: Callable[[int], None] | None = None,
    ) -> list[Generation]:
        """The greedy answer of every prompt, in their order; `on_done(index)` as each is finished.

        Equal to one prompt at a time, up to the rounding of the arithmetic.
        """
        request = Request(samples=1, temperature=0.0, seed=0, max_tokens=max_tokens, stop=tuple(stop))
        return [answers[0] for answers in answer(self, prompts, request, on_done)]

    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        samples: int,
        temperature: float,
        seed: int,
        max_tokens: int,
        stop: Sequence[str] = (),
        on_done: Callable[[int], None] | None = None,
    ) -> list[list[Generation]]:
        """`samples` answers a prompt, drawn at `temperature` (> 0). The prompt is decoded once and shared.

        A sample depends on seed, prompt and its own number only, not on what else is asked for.
        """
        if temperature <= 0:
            raise InputError("sampling needs a temperature above 0", value=temperature, fix="use generate for greedy")
        request = Request(samples, temperature, seed, max_tokens, tuple(stop))
        return answer(self, prompts, request, on_done)

    def score(
        self,
        pairs: Sequence[tuple[Sequence[int], Sequence[int]]],
        on_done: Callable[[int], None] | None = None,
    ) -> list[Scored]:
        """log p(continuation | prompt) of every pair; continuations of one prompt share its cache."""
        return score(self, pairs, on_done)

    def logits(self, tokens: Sequence[int], first: int = 0) -> NDArray[np.float32]:
        """Logits after each of `tokens[first:]`, shape (len(tokens) - first, vocabulary), from an empty cache."""
        self.check_length(len(tokens), "the text")
        found = np.empty((len(tokens) - first, self.vocabulary), np.float32)
        self.forget()
        for rows in self.feed([Feed(0, 0, tokens, first)]):
            found[rows.token - first] = rows.logits
        return found

    # --- for the modules that batch --------------------------------------------------------------------------------

    def feed(self, feeds: Sequence[Feed]) -> Iterator[Rows]:
        """Append tokens to sequences; yields the logits asked for. Exhaust it: decoding happens on the way."""
        return self.batch.run(feeds, self.decode)

    def decode(self, batch: Any, rows: int) -> NDArray[np.float32]:
        code = self.library.llama_decode(self.context, batch)
        if code != 0:
            raise InternalError(
                f"llama_decode returned {code}\n{llama_log.last_errors()}", value=f"{batch.n_tokens} tokens"
            )
        if rows == 0:
            return np.empty((0, self.vocabulary), np.float32)
        return np.ctypeslib.as_array(self.library.llama_get_logits(self.context), (rows, self.vocabulary))

    def share(self, sequence: int, others: Sequence[int]) -> None:
        """Give `others` a copy of the cache of `sequence`."""
        for other in others:
            self.library.llama_memory_seq_cp(self.memory, sequence, other, -1, -1)

    def forget(self, sequence: int = -1, first: int = -1) -> None:
        """Empty the cache of one sequence, from position `first` on, or of all."""
        if sequence < 0:
            self.library.llama_memory_clear(self.memory, False)
        else:
            self.library.llama_memory_seq_rm(self.memory, sequence, first, -1)

    @cached_property
    def can_forget_tails(self) -> bool:
        """Whether `forget` from a position on leaves what it was before: not with recurrent states or sliding windows."""
        library, model = self.library, self.model
        stateful = library.llama_model_is_recurrent(model) or library.llama_model_is_hybrid(model)
        return not stateful and library.llama_model_n_swa(model) == 0

    def check_length(self, tokens: int, what: str) -> None:
        if tokens > self.context_tokens:
            raise InputError(
                f"{what} does not fit into the context",
                value=f"{tokens} tokens",
                allowed=f"at most {self.context_tokens} tokens, prompt and answer together",
                fix="raise envelope.context_tokens, or shorten the item",
            )
        if tokens < 1:
            raise InputError(f"{what} is empty", allowed="at least one token, such as the begin-of-text token")


def serving_settings(log: str, flash: bool | None) -> dict[str, str]:
    """What beside weights and prompts decides an answer: as llama.cpp's log says it set up the context, not as it was asked to."""
    caches = CACHE_TYPES.findall(log)
    resolved = FLASH_ATTENTION.findall(log)
    attention = resolved[-1] if resolved else {None: "auto", False: "disabled", True: "enabled"}[flash]
    return {
        "cache of keys": ", ".join(sorted({keys for keys, _ in caches})) or "none",
        "cache of values": ", ".join(sorted({values for _, values in caches})) or "none",
        "flash attention": attention,
    }


def load_library() -> Any:
    """llama.cpp's low-level bindings, as untyped as they are."""
    try:
        from llama_cpp import llama_cpp as library
    except (ImportError, OSError, RuntimeError) as error:
        raise MissingDependency(
            f"llama-cpp-python can't be imported: {error}", fix="pip install llama-cpp-python==0.3.36"
        ) from error
    return library


def runtime_description() -> str:
    """llama.cpp's version and the instruction sets it was built with; needs no model."""
    import llama_cpp

    library = load_library()
    llama_log.listen()
    system = library.llama_print_system_info().decode(errors="replace")
    version = library.llama_version().decode(errors="replace")
    return f"llama-cpp-python {llama_cpp.__version__}, llama.cpp {version}; {' '.join(system.split())}"
