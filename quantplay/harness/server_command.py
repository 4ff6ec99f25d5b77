"""How each server is started: its command, its flags, its version. The one place that knows them.

vLLM's flags are written from its documentation (https://docs.vllm.ai/en/latest/configuration/engine_args.html); they were not run.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from quantplay.engines.llama_cpp import GGML_TYPES, CacheType
from quantplay.errors import InputError, MissingDependency
from quantplay.formats import SERVERS

PACKAGES = {"llama.cpp-server": "llama-cpp-python", "vllm": "vllm"}
CLIENT = ("aiohttp", "tenacity")
NEEDS = {"llama.cpp-server": ("fastapi", "sse_starlette", "starlette_context", "uvicorn", *CLIENT), "vllm": CLIENT}
INSTALL = {"llama.cpp-server": 'pip install "quantplay[server]"', "vllm": 'pip install vllm "quantplay[server]"'}


@dataclass(frozen=True, kw_only=True)
class Serving:
    """How a model is served."""

    runtime: str  # one of formats.SERVERS
    model: Path  # a GGUF file (llama.cpp-server) or a model folder (vllm)
    context_tokens: int  # of one request
    concurrency: int  # requests at once
    threads: int
    cache_type: CacheType = "f16"  # of keys and values, in llama.cpp's server
    scores: bool = (
        False  # also log-probabilities of a prompt's tokens, which takes llama.cpp context x vocabulary x 4 bytes
    )
    cache_bytes: int | None = None  # of keys and values for that many requests; vLLM takes most of the device otherwise


def require_runtime(runtime: str) -> str:
    """Its version. Raises MissingDependency with the command that installs it."""
    if runtime not in SERVERS:
        raise InputError("this runtime is no server", value=runtime, allowed=", ".join(SERVERS))
    version = installed(runtime)
    missing = [PACKAGES[runtime]] if version is None else []
    missing += [name for name in NEEDS[runtime] if find_spec(name) is None]
    if version is None or missing:
        raise MissingDependency(
            f"{runtime} can't serve a model here: {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed",
            fix=f"{INSTALL[runtime]}{', on a machine with an accelerator' if runtime == 'vllm' else ''}",
        )
    return version


def installed(runtime: str) -> str | None:
    try:
        return metadata.version(PACKAGES[runtime])
    except metadata.PackageNotFoundError:
        return None


def described(serving: Serving) -> dict[str, str]:
    """What can change answers or speed beside model, machine and threads: version and flags."""
    version = require_runtime(serving.runtime)
    told = flags(serving.runtime, serving.context_tokens, serving.concurrency, serving.cache_type)
    return {"server": f"{PACKAGES[serving.runtime]} {version}", "flags": " ".join(told)}


def flags(runtime: str, context_tokens: int, concurrency: int, cache_type: CacheType = "f16") -> list[str]:
    """What sets the runtime up. Two servers with other flags are not compared."""
    if runtime == "vllm":
        # Without the cache of shared prefixes a request is always computed whole, and the model's own generation_config.json
        # would add penalties or temperatures that no other arm has.
        return ["--max-model-len", str(context_tokens), "--max-num-seqs", str(concurrency), "--seed", "0",
                "--no-enable-prefix-caching", "--generation-config", "vllm"]  # fmt: skip
    # Requests wait for each other instead of breaking each other off, which is this server's default.
    told = ["--n_ctx", str(context_tokens), "--interrupt_requests", "false", "--seed", "0", "--verbose", "false"]
    if cache_type != "f16":
        kind = str(GGML_TYPES[cache_type])
        told += ["--type_k", kind, "--type_v", kind, "--flash_attn", "true"]
    return told


def command(serving: Serving, alias: str, host: str, port: int) -> list[str]:
    told = flags(serving.runtime, serving.context_tokens, serving.concurrency, serving.cache_type)
    where = ["--host", host, "--port", str(port)]
    if serving.runtime == "vllm":
        program = Path(sys.executable).with_name("vllm")
        cache = [] if serving.cache_bytes is None else ["--kv-cache-memory-bytes", str(serving.cache_bytes)]
        return [str(program) if program.is_file() else "vllm", "serve", str(serving.model), "--served-model-name", alias,
                *where, *told, *cache]  # fmt: skip
    threads = str(serving.threads)
    return [
        sys.executable, "-m", "llama_cpp.server", "--model", str(serving.model), "--model_alias", alias, *where, *told,
        "--n_threads", threads, "--n_threads_batch", threads, "--logits_all", str(serving.scores).lower(),
    ]  # fmt: skip


def body_of(runtime: str) -> dict[str, object]:
    """What every request says beside its prompt: greedy, and no penalty on words that were said before (llama.cpp's server has one)."""
    plain: dict[str, object] = {"temperature": 0}
    return plain | {"repeat_penalty": 1.0} if runtime == "llama.cpp-server" else plain
