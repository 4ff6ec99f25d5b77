"""What an artifact that was quantized elsewhere says about itself, held against its own bytes and against the model it is said to be
made from. Nothing is loaded and nothing is run.

To add a way of packing weights: a reader in imported_folder.py and its line in `READERS`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any

from quantplay.engines.gguf_header import read_gguf_header
from quantplay.envelope.shape import is_tied, read_config, read_shape, text_type
from quantplay.errors import Fault, InputError
from quantplay.evalset.jsonl import printable
from quantplay.evalset.models import PICKLES
from quantplay.quantizers.imported_folder import read_folder
from quantplay.quantizers.imported_gguf import read_gguf
from quantplay.quantizers.stored_layers import tensors_of

KNOWN = "a .gguf file, or a folder of GPTQ, AWQ or compressed-tensors weights"
OWN = ("output.weight", "rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight")
"""What a GGUF file may hold without the model having it: a tied output matrix once more, and tables that follow from the config."""
COMPUTED = "rotary_emb.inv_freq"  # some programs store it, and none needs it
KNOWN_TO_GGUF = ("blk.", "token_embd.", "output.", "output_norm.")
MOST_FAULTS = 8  # named; a foreign model differs everywhere


@dataclass(frozen=True, kw_only=True)
class Told:
    """What the artifact says, and its bytes bear out."""

    format: str
    type: str  # of formats.TYPES where that has it, else in the format's own words
    nominal_bits: int
    group_size: int  # 0: a whole row
    stored_bits: int  # of all tensors
    tensors: dict[str, str]  # name -> how it is stored
    full_precision: tuple[str, ...]  # matrices left unquantized
    shapes: dict[str, tuple[int, ...]]  # of the weights that the tensors stand for
    words: dict[str, str]  # what was read where


def read_artifact(path: Path) -> Told:
    """Raises InputError or IntegrityError for what is no artifact, pickles, code, cut or damaged files, scales that are not finite,
    full precision, and words that the stored bytes contradict."""
    if path.is_dir():
        return Told(**read_folder(path))
    if path.suffix.lower() in PICKLES:
        raise InputError(
            "a pickle runs code when it is loaded, and is not opened", value=path, allowed=KNOWN,
            fix="ask for the same weights as safetensors or GGUF",
        )  # fmt: skip
    if not path.is_file():
        raise InputError("there is no such artifact", value=path, allowed=KNOWN)
    return Told(**read_gguf(path))


def require_made_from(artifact: Path, told: Told, base: Path) -> int:
    """How many weights the full-precision model in the folder `base` has.

    Raises InputError where the artifact's architecture or the shape of a tensor is not that model's, or a tensor is missing.
    """
    config = read_config(base)
    ours, found = text_type(config), told.shapes
    if told.format == "gguf":
        wanted = {name: shape for name, shape in read_shape(base).tensors.items() if name.startswith(KNOWN_TO_GGUF)}
        theirs, known = str(read_gguf_header(artifact).metadata.get("general.architecture")), architectures()
        extra = set(OWN)
    else:
        wanted = {name: tensor.shape for name, tensor in tensors_of(base).items()}
        theirs = text_type(read_config(artifact))
        known = frozenset({ours, theirs})
        extra = {name for name in found if name.endswith(COMPUTED)} | {
            f"{name.removesuffix('.weight')}.bias" for name in found
        }
        if is_tied(config, ours):
            wanted.pop("lm_head.weight", None)
            extra.add("lm_head.weight")
        wanted = {name: shape for name, shape in wanted.items() if not name.endswith(COMPUTED)}
    found = {name: shape for name, shape in found.items() if name in wanted or name not in extra}
    faults = [*other_architecture(ours, theirs, known=known), *other_shapes(found, wanted)]
    if faults:
        more = [Fault(where="...", what=f"and {len(faults) - MOST_FAULTS} more")] if len(faults) > MOST_FAULTS else []
        raise InputError(
            f"{artifact.name} was not made from the model in {base}", faults=[*faults[:MOST_FAULTS], *more],
            fix="name the full-precision model it was made from: --base FOLDER",
        )  # fmt: skip
    return sum(prod(shape) for shape in wanted.values())


def architectures() -> frozenset[str]:
    import gguf

    return frozenset(gguf.MODEL_ARCH_NAMES.values())


def other_architecture(ours: str, theirs: str, *, known: frozenset[str]) -> Iterator[Fault]:
    """Only where both sides use the same list of names: llama.cpp calls a Mistral `llama`."""
    if ours in known and theirs != ours:
        yield Fault(where="architecture", what="is not the base model's", value=printable(theirs), allowed=ours)


def other_shapes(found: Mapping[str, tuple[int, ...]], wanted: Mapping[str, tuple[int, ...]]) -> list[Fault]:
    """Tensors of one side alone, and those of other sizes. In which order a format keeps the axes is its own business."""
    faults = [
        Fault(where=printable(name), what="is not in the base model", value=text_of(found[name]))
        for name in sorted(found.keys() - wanted.keys())
    ]
    faults += [
        Fault(where=printable(name), what="is missing in the artifact", allowed=text_of(wanted[name]))
        for name in sorted(wanted.keys() - found.keys())
    ]
    faults += [
        Fault(where=printable(name), what="has another shape than in the base model", value=text_of(found[name]), allowed=text_of(wanted[name]))
        for name in sorted(found.keys() & wanted.keys())
        if sizes(found[name]) != sizes(wanted[name])
    ]  # fmt: skip
    return faults


def sizes(shape: tuple[int, ...]) -> list[int]:
    return sorted(size for size in shape if size != 1)


def text_of(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def read_job(payload: dict[str, Any], _report: object) -> dict[str, Any]:
    """{"artifact", "base"} -> the fields of Told and `weights`, of the base. For quantplay.process: files of others are read apart."""
    artifact = Path(payload["artifact"])
    told = read_artifact(artifact)
    weights = require_made_from(artifact, told, Path(payload["base"]))
    body = asdict(told)
    del body["shapes"]
    return {**body, "weights": weights}
