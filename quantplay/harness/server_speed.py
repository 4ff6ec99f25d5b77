"""Speed and memory of served models under the plan's load: `batch` concurrent clients, both servers in turn.

llama.cpp's servers run side by side and are asked A B, B A, A B ..., as in process. vLLM takes most of a device, so there one
server runs at a time: the first, the second, and the first again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

from quantplay.engines.llama_cpp import CacheType, LlamaModel
from quantplay.engines.model_file import model_folder
from quantplay.engines.transformers_model import load_tokenizer
from quantplay.envelope.accelerators import used_bytes
from quantplay.envelope.memory import cache_bytes
from quantplay.envelope.runtimes import runtime_of
from quantplay.envelope.shape import read_shape
from quantplay.errors import InputError
from quantplay.evalset.weights import read_header
from quantplay.formats import loads_gguf
from quantplay.harness.server import Server, served
from quantplay.harness.server_command import Serving
from quantplay.harness.server_load import Prompt, ServedTurn, measure_served
from quantplay.harness.speed import spread
from quantplay.harness.speed_load import answer_tokens
from quantplay.process import Report
from quantplay.records import Performance

SPARE = 2  # tokens by which two tokenizers may count a text differently
STRIDE = 7919  # tokens between the starts of two prompts: none begins like another, so nothing is found in a cache


def measure_speed_served(
    models: Mapping[str, Path],
    texts: Sequence[str],
    *,
    runtime: str,
    cache_type: CacheType,
    tokenizer: Path | None,
    context_tokens: int,
    batch: int,
    threads: int,
    repeats: int,
    on_progress: Report | None = None,
) -> dict[str, Performance]:
    """Performance of every model, by its name in `models`, as `batch` clients of its server see it.

    repeats: turns of three requests a client. tokenizer: folder of the source model. One turn of each is not counted. Raises what `served` and `measure_served` raise.
    """
    with contextlib.ExitStack() as folders:
        paths = {
            name: path if loads_gguf(runtime) else folders.enter_context(model_folder(path)) for name, path in models.items()
        }  # fmt: skip
        if tokenizer is None and loads_gguf(runtime):
            raise InputError(
                "prompts for a served GGUF file need its tokenizer", allowed="the folder of the source model"
            )
        tokens = load_tokenizer(tokenizer or next(iter(paths.values())))
        load = {"clients": batch, "max_tokens": answer_tokens(context_tokens), "forbidden": tokens.all_special_ids}
        arms = {
            name: Serving(
                runtime=runtime, model=path, context_tokens=context_tokens, concurrency=batch, threads=threads, cache_type=cache_type,
                cache_bytes=None if loads_gguf(runtime) else folder_cache(path, runtime, context_tokens, batch),
            )
            for name, path in paths.items()
        }  # fmt: skip
        turns: dict[str, list[ServedTurn]] = {name: [] for name in models}
        memory: dict[str, dict[str, int | None]] = {}
        prompts = {
            name: filling(tokens, texts, context_tokens - answer_tokens(context_tokens) - SPARE) for name in models
        }
        for session in sessions(arms, repeats):
            with contextlib.ExitStack() as stack:
                held = {name: stack.enter_context(running(arms[name], on_progress)) for name in dict.fromkeys(session)}
                for name in dict.fromkeys(session):
                    measure_served(held[name][0], prompts[name], **load)
                for number, name in enumerate(session, start=1):
                    turns[name].append(measure_served(held[name][0], prompts[name], **load))
                    if on_progress is not None:
                        on_progress(number, len(session), "turns of served speed measured")
                memory |= {name: taken(server, before) for name, (server, before) in held.items()}
        return {
            name: performance(turns[name], context_tokens, batch, threads).model_copy(
                update={**memory[name], **sizes(paths[name], arms[name])}
            )
            for name in models
        }  # fmt: skip


def sessions(arms: Mapping[str, Serving], repeats: int) -> list[list[str]]:
    """Servers that run together, and the order in which they are asked; one after the other cancels a machine's drift too."""
    names = list(arms)
    if all(arm.runtime != "vllm" for arm in arms.values()):
        return [[name for number in range(repeats) for name in (names if number % 2 == 0 else names[::-1])]]
    if len(names) == 1:
        return [names * repeats]
    half = repeats // 2
    return [[names[0]] * half, *([name] * repeats for name in names[1:]), [names[0]] * (repeats - half)]


@contextlib.contextmanager
def running(serving: Serving, on_progress: Report | None) -> Iterator[tuple[Server, int | None]]:
    """The server, and what the devices held before it; None where several servers run at once, or there is no device."""
    before = used_bytes() if serving.runtime == "vllm" else None
    with served(serving, on_progress=on_progress) as server:
        yield server, before


def taken(server: Server, before: int | None) -> dict[str, int | None]:
    """Memory of the server's process and of all it started; on devices what they hold more than before."""
    now = used_bytes() if before is not None else None
    return {
        "peak_resident_bytes": resident_bytes(server.pid),
        "device_bytes": None if before is None or now is None else max(0, now - before),
    }


def resident_bytes(pid: int) -> int:
    """High-water marks of a process and its descendants, added up; what the system tells of the present where it tells no more."""
    import psutil

    def peak(one: psutil.Process) -> int:
        status = Path(f"/proc/{one.pid}/status")
        if status.exists():
            for line in status.read_text().splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
        return one.memory_info().rss

    root = psutil.Process(pid)
    return sum(peak(one) for one in (root, *root.children(recursive=True)))


def filling(tokenizer: Any, texts: Sequence[str], wanted: int) -> Iterator[Prompt]:
    """Prompts of `wanted` tokens, begin-of-text included, endlessly; each starts somewhere else in the texts."""
    whole = tokenizer("\n".join(texts), add_special_tokens=False)["input_ids"]
    if not whole:
        raise InputError("there is no text to measure speed with", fix="give at least one text")
    circle = whole * (1 + wanted // len(whole) + 1)
    for number in count():
        start = number * STRIDE % len(whole)
        length = wanted
        while True:
            text = tokenizer.decode(circle[start : start + length])
            tokens = len(tokenizer(text)["input_ids"])
            if tokens <= wanted:
                break
            length -= tokens - wanted
        yield Prompt(text, tokens)


def performance(turns: Sequence[ServedTurn], context_tokens: int, batch: int, threads: int) -> Performance:
    answered = [one for turn in turns for one in turn.answered]
    per_token = [1000 * seconds for one in answered if (seconds := one.seconds_per_token) is not None]
    if not per_token:
        raise InputError("no answer had a second token, so there is no time per token", fix="give other held-out texts")
    return Performance(
        context_tokens=context_tokens, batch=batch, threads=threads, repeats=len(turns),
        time_to_first_token_ms=spread([1000 * one.first_token_seconds for one in answered]),
        time_per_token_ms=spread(per_token),
        prompt_tokens_per_second=median(turn.alone.prompt_tokens / turn.alone.first_token_seconds for turn in turns),
        generated_tokens_per_second=median(turn.tokens / turn.seconds for turn in turns),
        weights_bytes=0, cache_bytes=0, peak_resident_bytes=0,
    )  # fmt: skip


def sizes(model: Path, serving: Serving) -> dict[str, int]:
    """Bytes of weights and of the key-value cache, which a server does not tell: llama.cpp in process does, for a folder the files."""
    if loads_gguf(serving.runtime):
        with LlamaModel(
            model, threads=serving.threads, context_tokens=serving.context_tokens, cache_type=serving.cache_type
        ) as loaded:
            return {"weights_bytes": loaded.weights_bytes, "cache_bytes": loaded.cache_bytes}
    tensors = [tensor for file in model.glob("*.safetensors") for tensor in read_header(file).values()]
    return {"weights_bytes": sum(one.end - one.begin for one in tensors), "cache_bytes": serving.cache_bytes or 0}


def folder_cache(folder: Path, runtime: str, context_tokens: int, batch: int) -> int | None:
    """Keys and values of the load in 16 bits; None for an architecture that can't be read, whose server decides itself."""
    made = runtime_of(runtime)
    try:
        shape = read_shape(folder, need_weights=False)
    except InputError:
        return None
    return cache_bytes(
        shape, context_tokens=context_tokens + made.padding, batch=batch, windows=False, padding=made.padding
    )  # fmt: skip
