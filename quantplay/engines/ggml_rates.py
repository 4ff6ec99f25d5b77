"""How fast this machine multiplies matrices of ggml's types: the kernels that serve, timed for a moment on made-up weights.

A graph of multiplications is computed by ggml's CPU backend in the very buffers llama.cpp would put the weights in (some types are
repacked for wide vector units while loading), so that a rate holds what unpacking costs, and what the memory gives.
Structures and calls: ggml.h and ggml-backend.h of llama.cpp 0.5.0.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from quantplay.engines import llama_log
from quantplay.engines.ggml import NEEDS_IMPORTANCE, layout, quantized
from quantplay.engines.ggml import library as base_library
from quantplay.errors import InternalError, MissingDependency

COLUMNS, ROWS = 2048, 2048
DIFFERENT_ROWS = 32
REPEATS, FEWEST = 7, 3  # of one graph, less where it takes long
LONGEST = 0.03  # seconds
NODES = 256  # of the graph that tells what a node costs
HALF = 1  # ggml's number of float16
BUFFER = 8  # offset of `buffer` in ggml_tensor, behind the type and its padding

Pointer = ctypes.c_void_p


class Memory(ctypes.Structure):
    """struct ggml_init_params."""

    _fields_ = (("mem_size", ctypes.c_size_t), ("mem_buffer", Pointer), ("no_alloc", ctypes.c_bool))


class Kernels:
    """ggml's CPU backend with a fixed number of threads. A context manager: gives its memory back."""

    def __init__(self, threads: int, clock: Callable[[], float] = time.perf_counter) -> None:
        self.clock = clock
        llama_log.listen()
        self.base, self.cpu = base_library(), cpu_library()
        declare(self.base, self.cpu)
        self.device = self.base.ggml_backend_reg_dev_get(self.cpu.ggml_backend_cpu_reg(), 0)
        self.backend = self.cpu.ggml_backend_cpu_init()
        self.cpu.ggml_backend_cpu_set_n_threads(self.backend, threads)

    def __enter__(self) -> Kernels:
        return self

    def __exit__(self, *_: object) -> None:
        self.base.ggml_backend_free(self.backend)

    def seconds(
        self, kind: str, size_bytes: int, batches: Sequence[int], *, columns: int = COLUMNS
    ) -> dict[int, float]:
        """Tokens at a time -> seconds to multiply about `size_bytes` of weights of `kind` once, per weight.

        columns: of each matrix, a multiple of the type's block.
        """
        number, block, size = layout(kind)
        count = max(1, round(size_bytes / (columns * ROWS // block * size)))
        with self.tensors() as weights_context:
            weights = [self.base.ggml_new_tensor_2d(weights_context, number, columns, ROWS) for _ in range(count)]
            kept = self.base.ggml_backend_alloc_ctx_tensors_from_buft(
                weights_context, self.buffer_type(weights[0], columns)
            )
            try:
                fill(self.base, kind, weights, columns)
                return {batch: self.timed(weights, columns, batch) / (count * columns * ROWS) for batch in batches}
            finally:
                self.base.ggml_backend_buffer_free(kept)

    def timed(self, weights: Sequence[int], columns: int, batch: int) -> float:
        """Seconds to multiply `batch` columns by every matrix of `weights`, the best of a few times: what the machine can do."""
        with self.tensors() as context:
            inputs = self.base.ggml_new_tensor_2d(context, 0, columns, batch)
            results = [self.base.ggml_mul_mat(context, one, inputs) for one in weights]
            kept = self.base.ggml_backend_alloc_ctx_tensors(context, self.backend)
            try:
                values = np.random.default_rng(0).standard_normal(columns * batch, np.float32)
                self.base.ggml_backend_tensor_set(inputs, values.ctypes.data, 0, values.nbytes)
                return self.computed(context, results)
            finally:
                self.base.ggml_backend_buffer_free(kept)

    def attention_seconds(self, *, heads: int, shared: int, head_dim: int, past: int, tokens: int) -> float:
        """Seconds one query head needs for one token and one position of its past, in llama.cpp's flash attention.

        shared: query heads that read the same keys and values, float16 as in the cache; tokens: queries at a time.
        """
        kept_heads = max(1, heads // shared)
        with self.tensors() as context:
            new = self.base.ggml_new_tensor_3d
            queries = new(context, 0, head_dim, heads, tokens)
            keys, values = (new(context, HALF, head_dim, kept_heads, past) for _ in range(2))
            mask = self.base.ggml_new_tensor_2d(context, HALF, past, tokens)
            turned = [self.base.ggml_permute(context, one, 0, 2, 1, 3) for one in (queries, keys, values)]
            result = self.base.ggml_flash_attn_ext(context, *turned, mask, head_dim**-0.5, 0.0, 0.0)
            kept = self.base.ggml_backend_alloc_ctx_tensors(context, self.backend)
            try:
                random = np.random.default_rng(2)
                for one, count, kind in (
                    (queries, heads * tokens, np.float32), (keys, kept_heads * past, np.float16),
                    (values, kept_heads * past, np.float16),
                ):  # fmt: skip
                    data = random.standard_normal(count * head_dim, np.float32).astype(kind)
                    self.base.ggml_backend_tensor_set(one, data.ctypes.data, 0, data.nbytes)
                seen = np.zeros(past * tokens, np.float16)
                self.base.ggml_backend_tensor_set(mask, seen.ctypes.data, 0, seen.nbytes)
                return self.computed(context, [result]) / (heads * tokens * past)
            finally:
                self.base.ggml_backend_buffer_free(kept)

    def node_seconds(self) -> float:
        """What a node of a graph costs that has nothing to compute: starting it, and waiting for every thread."""
        with self.tensors() as context:
            last = self.base.ggml_new_tensor_2d(context, 0, 32, 1)
            first = last
            for _ in range(NODES):
                last = self.base.ggml_add(context, last, first)
            kept = self.base.ggml_backend_alloc_ctx_tensors(context, self.backend)
            try:
                values = np.ones(32, np.float32)
                self.base.ggml_backend_tensor_set(first, values.ctypes.data, 0, values.nbytes)
                return self.computed(context, [last]) / NODES
            finally:
                self.base.ggml_backend_buffer_free(kept)

    def computed(self, context: int, results: Sequence[int]) -> float:
        graph = self.base.ggml_new_graph_custom(context, 2 * NODES + 2 * len(results), False)
        for one in results:
            self.base.ggml_build_forward_expand(graph, one)
        times = []
        ended = self.clock() + LONGEST
        while len(times) < FEWEST or (len(times) < REPEATS and self.clock() < ended):
            started = self.clock()
            if self.base.ggml_backend_graph_compute(self.backend, graph) != 0:
                raise InternalError("ggml could not compute a graph of multiplications")
            times.append(self.clock() - started)
        return min(times)

    def is_repacked(self, kind: str) -> bool:
        """Whether llama.cpp lays weights of this type out anew while it loads them."""
        with self.tensors() as context:
            weight = self.base.ggml_new_tensor_2d(context, layout(kind)[0], COLUMNS, ROWS)
            return self.buffer_type(weight, COLUMNS) != self.base.ggml_backend_cpu_buffer_type()

    def buffer_type(self, weight: int, columns: int) -> int:
        """Where llama.cpp would put this weight: the first of the CPU's own layouts that can multiply it, or plain memory."""
        for one in self.layouts():
            with self.tensors() as context:
                inputs = self.base.ggml_new_tensor_2d(context, 0, columns, 4)
                product = self.base.ggml_mul_mat(context, weight, inputs)
                buffer = self.base.ggml_backend_buft_alloc_buffer(one, 0)
                field = ctypes.cast(weight + BUFFER, ctypes.POINTER(Pointer))
                field[0] = buffer
                supported = self.base.ggml_backend_dev_supports_op(self.device, product)
                field[0] = None
                self.base.ggml_backend_buffer_free(buffer)
                if supported:
                    return one
        return self.base.ggml_backend_cpu_buffer_type()

    def layouts(self) -> list[int]:
        registry = self.cpu.ggml_backend_cpu_reg()
        address = self.base.ggml_backend_reg_get_proc_address(registry, b"ggml_backend_dev_get_extra_bufts")
        if not address:
            return []
        listed = ctypes.CFUNCTYPE(ctypes.POINTER(Pointer), Pointer)(address)(self.device)
        found: list[int] = []
        while listed and (one := listed[len(found)]):
            found.append(one)
        return found

    @contextmanager
    def tensors(self) -> Iterator[int]:
        """A context for tensors and graphs; their data is allocated apart."""
        context = self.base.ggml_init(Memory(mem_size=4 << 20, mem_buffer=None, no_alloc=True))
        try:
            yield context
        finally:
            self.base.ggml_free(context)


def fill(ggml: Any, kind: str, weights: Sequence[int], columns: int) -> None:
    """Give every matrix real quantized numbers: some rows of random weights, over and over."""
    values = np.random.default_rng(1).standard_normal((DIFFERENT_ROWS, columns), np.float32) * 0.05
    importance = np.ones(columns, np.float32) if kind in NEEDS_IMPORTANCE else None
    data = np.tile(quantized(kind, values, importance), (ROWS // DIFFERENT_ROWS, 1))
    for one in weights:
        ggml.ggml_backend_tensor_set(one, data.ctypes.data, 0, data.nbytes)


@cache
def cpu_library() -> Any:
    """libggml-cpu of the installed llama.cpp. Raises MissingDependency where there is none."""
    import llama_cpp

    folder = Path(llama_cpp.__file__).parent / "lib"
    file = next(
        (
            folder / name
            for name in ("libggml-cpu.so", "libggml-cpu.dylib", "ggml-cpu.dll")
            if (folder / name).is_file()
        ),
        None,
    )
    if file is None:
        raise MissingDependency("llama.cpp's libggml-cpu is not installed", fix="pip install llama-cpp-python")
    return ctypes.CDLL(str(file))


@cache
def signatures() -> dict[str, tuple[Any, list[Any]]]:
    """Function of libggml-base -> (what it returns, what it takes)."""
    whole, number, size, yes = ctypes.c_int64, ctypes.c_int, ctypes.c_size_t, ctypes.c_bool
    return {
        "ggml_init": (Pointer, [Memory]),
        "ggml_free": (None, [Pointer]),
        "ggml_new_tensor_2d": (Pointer, [Pointer, number, whole, whole]),
        "ggml_new_tensor_3d": (Pointer, [Pointer, number, whole, whole, whole]),
        "ggml_permute": (Pointer, [Pointer, Pointer, number, number, number, number]),
        "ggml_flash_attn_ext": (Pointer, [*[Pointer] * 5, *[ctypes.c_float] * 3]),
        "ggml_mul_mat": (Pointer, [Pointer, Pointer, Pointer]),
        "ggml_add": (Pointer, [Pointer, Pointer, Pointer]),
        "ggml_new_graph_custom": (Pointer, [Pointer, size, yes]),
        "ggml_build_forward_expand": (None, [Pointer, Pointer]),
        "ggml_backend_graph_compute": (number, [Pointer, Pointer]),
        "ggml_backend_free": (None, [Pointer]),
        "ggml_backend_buffer_free": (None, [Pointer]),
        "ggml_backend_cpu_buffer_type": (Pointer, []),
        "ggml_backend_alloc_ctx_tensors": (Pointer, [Pointer, Pointer]),
        "ggml_backend_alloc_ctx_tensors_from_buft": (Pointer, [Pointer, Pointer]),
        "ggml_backend_tensor_set": (None, [Pointer, Pointer, size, size]),
        "ggml_backend_buft_alloc_buffer": (Pointer, [Pointer, size]),
        "ggml_backend_dev_supports_op": (yes, [Pointer, Pointer]),
        "ggml_backend_reg_dev_get": (Pointer, [Pointer, size]),
        "ggml_backend_reg_get_proc_address": (Pointer, [Pointer, ctypes.c_char_p]),
    }


def declare(base: Any, cpu: Any) -> None:
    for name, (result, arguments) in signatures().items():
        function = getattr(base, name)
        function.restype, function.argtypes = result, arguments
    cpu.ggml_backend_cpu_init.restype, cpu.ggml_backend_cpu_init.argtypes = Pointer, []
    cpu.ggml_backend_cpu_reg.restype, cpu.ggml_backend_cpu_reg.argtypes = Pointer, []
    cpu.ggml_backend_cpu_set_n_threads.restype = None
    cpu.ggml_backend_cpu_set_n_threads.argtypes = [Pointer, ctypes.c_int]
