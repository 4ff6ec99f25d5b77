"""The same model, spoiled: a share of the weights of some layers changes places. It loads, answers as fast, and worse.

Every quantized block stays whole, so there are no broken numbers that a loader could find: name, shapes, types and size are the same,
and only the digest of the file tells, which a server does not.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np

from quantplay.engines.gguf_header import GgufHeader, read_gguf_header
from quantplay.engines.whole_file import written_whole
from quantplay.errors import InputError

LAYER = re.compile(r"blk\.(\d+)\..*\.weight")
SHARE = 0.5  # of the layer's blocks: the pilot then has more than every other answer wrong


def spoil(source: Path, target: Path, *, seed: int = 0, share: float = SHARE) -> tuple[str, ...]:
    """Write `source`, a GGUF file, to `target` with `share` of the blocks of its middle layer moved; the tensors' names.

    Raises InputError where it has no layers.
    """
    from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

    header = read_gguf_header(source)
    names = middle(header)
    if not names:
        raise InputError("there is no layer to spoil", value=source, allowed="a GGUF file of a language model")
    drawn = np.random.default_rng(seed)
    with written_whole(target) as partial:
        shutil.copyfile(source, partial)
        data = np.memmap(partial, dtype=np.uint8, mode="r+")
        for name in names:
            tensor = header.tensors[name]
            _, block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType[tensor.kind]]
            start = header.data_start + tensor.offset
            blocks = data[start : start + tensor.size_bytes].reshape(-1, block_bytes)
            moved = drawn.permutation(len(blocks))[: max(2, int(share * len(blocks)))]
            blocks[moved] = blocks[np.roll(moved, 1)]
        data.flush()
        del data
    return names


def middle(header: GgufHeader) -> tuple[str, ...]:
    """Matrices of the middle layer; vectors stay."""
    found = {name: int(match[1]) for name in header.tensors if (match := LAYER.fullmatch(name))}
    layers = sorted(set(found.values()))
    if not layers:
        return ()
    layer = layers[len(layers) // 2]
    return tuple(name for name, of in found.items() if of == layer and len(header.tensors[name].shape) > 1)
