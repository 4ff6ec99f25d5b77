"""A folder of quantized safetensors that was made elsewhere: GPTQ (gptqmodel, auto-gptq), AWQ (autoawq), compressed-tensors.

What the configuration says is held against the header of the weights: packed words, scales and zeros have to be of the very shapes
and dtypes that so many bits in such groups take. Layouts: the format's own packing code, gptqmodel `nn_modules/qlinear`, autoawq
`modules/linear/gemm.py`, compressed-tensors `compressors/pack_quantized`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from quantplay.errors import Fault, InputError, IntegrityError
from quantplay.evalset.finite import require_finite_weights
from quantplay.evalset.jsonl import printable
from quantplay.evalset.model_config import read_json
from quantplay.evalset.models import model_files
from quantplay.evalset.weights import BITS, Tensor
from quantplay.formats import TYPES
from quantplay.quantizers.stored_layers import WIDE, kinds, tensors_of

WORD = 32  # bits of the integers that hold packed weights
PARTS = (
    "qweight", "qzeros", "scales", "g_idx", "weight_packed", "weight_scale", "weight_zero_point", "weight_shape", "weight_g_idx",
    "input_scale", "weight",
)  # fmt: skip
"""Tensors of a quantized layer, by the end of their names."""
LONGEST_WORDS = 2000
Saved = Mapping[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Packing:
    """What a configuration says."""

    bits: int
    group: int  # 0: a whole row
    kind: str  # a type of formats.TYPES where that has it
    layers: dict[str, tuple[int, ...]]  # quantized layer -> (outputs, inputs)
    wrong: tuple[Fault, ...]  # where the tensors are not what was said


def read_folder(path: Path) -> dict[str, Any]:
    """The fields of imported.Told."""
    model_files(path, quantized=True)  # pickles, code, links, cut files, missing shards
    told, where = configuration(path)
    method = str(told.get("quant_method") or ("gptq" if "desc_act" in told else "none named"))
    if method not in READERS:
        raise InputError(
            "this way of packing weights is not known", value=printable(f"quant_method: {method}"), allowed=", ".join(READERS),
            fix="quantize the base model here, or ask for one of these",
        )  # fmt: skip
    saved = tensors_of(path)
    found = READERS[method](told, saved)
    if not found.layers:
        raise IntegrityError(
            f"no layer of this folder is stored as {method} stores them", value=where, fix="copy every file again"
        )
    if found.wrong:
        raise IntegrityError(
            "the weights are not what the configuration says", faults=found.wrong,
            fix="copy every file again, from one place",
        )  # fmt: skip
    require_finite_weights(path)
    left = {name: tensor for name, tensor in saved.items() if not is_part(name, found.layers)}
    return {
        "format": method,
        "type": found.kind,
        "nominal_bits": found.bits,
        "group_size": found.group,
        "stored_bits": sum(prod(one.shape) * BITS[one.dtype] for one in saved.values()),
        "tensors": kinds(dict.fromkeys(found.layers, found.kind), saved),
        "full_precision": tuple(sorted(name for name, one in left.items() if len(one.shape) > 1 and one.dtype in WIDE)),
        "shapes": {f"{layer}.weight": shape for layer, shape in found.layers.items()}
        | {name: one.shape for name, one in left.items()},
        "words": {where: json.dumps(told, sort_keys=True)[:LONGEST_WORDS]},
    }


def configuration(path: Path) -> tuple[dict[str, Any], str]:
    """What says how the weights are packed, and where it stands."""
    config = read_json(path / "config.json")
    inside = config.get("quantization_config") if isinstance(config, dict) else None
    if isinstance(inside, dict):
        return inside, "config.json: quantization_config"
    beside = read_json(path / "quantize_config.json") if (path / "quantize_config.json").is_file() else None
    if isinstance(beside, dict):  # auto-gptq before 0.5
        return beside, "quantize_config.json"
    raise InputError(
        "this folder does not say that its weights are quantized", value=path,
        allowed="`quantization_config` in config.json, or quantize_config.json",
        fix="copy every file of the model; full precision needs no import",
    )  # fmt: skip


def is_part(name: str, layers: Mapping[str, object]) -> bool:
    layer, _, part = name.rpartition(".")
    return layer in layers and part in PARTS


def numbers(told: Mapping[str, Any], bits_key: str, group_key: str) -> tuple[int, int]:
    bits, group = told.get(bits_key), told.get(group_key)
    if type(bits) is not int or bits not in (2, 3, 4, 8) or type(group) is not int or group < -1:
        raise InputError(
            "the configuration does not say bits and groups", value=printable(f"{bits_key} {bits}, {group_key} {group}"),
            allowed="2, 3, 4 or 8 bits; groups of so many weights, or -1 for whole rows",
            fix="copy the configuration again from where the weights come from",
        )  # fmt: skip
    return bits, max(group, 0)


def layers_with(saved: Saved, part: str) -> list[str]:
    return sorted(name.removesuffix(f".{part}") for name in saved if name.endswith(f".{part}"))


def wrong_parts(
    saved: Saved, layer: str, wanted: Mapping[str, tuple[tuple[str, ...], tuple[int, ...]]]
) -> Iterator[Fault]:
    """wanted: part -> its allowed dtypes, its shape. A missing part, another dtype, another shape."""
    for part, (dtypes, shape) in wanted.items():
        found = saved.get(f"{layer}.{part}")
        here = "missing" if found is None else f"{found.dtype} {list(found.shape)}"
        if found is None or found.dtype not in dtypes or found.shape != shape:
            yield Fault(
                where=printable(f"{layer}.{part}"), what="is not what bits and groups of the configuration take", value=here,
                allowed=f"{' or '.join(dtypes)} {list(shape)}",
            )  # fmt: skip


INT, SCALES = ("I32",), tuple(WIDE)


def gptq(told: Mapping[str, Any], saved: Saved) -> Packing:
    """qweight packs inputs, qzeros outputs; g_idx names each input's group."""
    bits, group = numbers(told, "bits", "group_size")
    layers, wrong = {}, []
    for layer in layers_with(saved, "qweight"):
        shape = saved[f"{layer}.qweight"].shape
        rows, outputs = shape if len(shape) == 2 else (0, 0)
        inputs = rows * WORD // bits
        groups = -(-inputs // group) if group else 1
        wrong += wrong_parts(saved, layer, {
            "qweight": (INT, (inputs * bits // WORD, outputs)), "scales": (SCALES, (groups, outputs)),
            "qzeros": (INT, (groups, -(-outputs * bits // WORD))),
        })  # fmt: skip
        layers[layer] = (outputs, inputs)
    kind = "GPTQ_INT4" if (bits, group) == (4, TYPES["GPTQ_INT4"].group_size) else f"GPTQ_INT{bits}_G{group}"
    return Packing(bits=bits, group=group, kind=kind, layers=layers, wrong=tuple(wrong))


def awq(told: Mapping[str, Any], saved: Saved) -> Packing:
    """qweight and qzeros pack outputs."""
    old = "w_bit" in told
    bits, group = numbers(told, "w_bit" if old else "bits", "q_group_size" if old else "group_size")
    version = str(told.get("version", "gemm")).lower()
    if version != "gemm":
        raise InputError(
            "this layout of AWQ is not known",
            value=printable(f"version: {version}"),
            allowed="gemm",
            fix="ask for the `gemm` version",
        )
    layers, wrong = {}, []
    for layer in layers_with(saved, "qweight"):
        shape = saved[f"{layer}.qweight"].shape
        inputs, words = shape if len(shape) == 2 else (0, 0)
        outputs = words * WORD // bits
        groups = -(-inputs // group) if group else 1
        wrong += wrong_parts(saved, layer, {
            "qweight": (INT, (inputs, outputs * bits // WORD)), "scales": (SCALES, (groups, outputs)),
            "qzeros": (INT, (groups, outputs * bits // WORD)),
        })  # fmt: skip
        layers[layer] = (outputs, inputs)
    return Packing(bits=bits, group=group, kind=f"AWQ_INT{bits}_G{group}", layers=layers, wrong=tuple(wrong))


def compressed(told: Mapping[str, Any], saved: Saved) -> Packing:
    """pack-quantized: weight_packed packs inputs; int-quantized and float-quantized: weight in 8 bits."""
    groups = told.get("config_groups")
    if not isinstance(groups, dict) or len(groups) != 1:
        raise InputError(
            "this folder's layers are not all packed in one way", value=f"{len(groups) if isinstance(groups, dict) else 0} groups",
            allowed="one group under `config_groups`", fix="quantize the base model here: play 5 makes mixes",
        )  # fmt: skip
    (scheme,) = groups.values()
    weights = scheme.get("weights") if isinstance(scheme, dict) else None
    if not isinstance(weights, dict):
        raise InputError(
            "the configuration does not say how weights are packed", allowed="`weights` in `config_groups`"
        )
    bits, group = numbers({**weights, "group_size": weights.get("group_size") or -1}, "num_bits", "group_size")
    floats, symmetric = weights.get("type") == "float", weights.get("symmetric") is not False
    acts = scheme.get("input_activations")
    layers, wrong = {}, []
    for layer in layers_with(saved, "weight_scale"):
        packed = saved.get(f"{layer}.weight_packed")
        stored = packed or saved.get(f"{layer}.weight")
        if stored is None or len(stored.shape) != 2:
            wrong.append(Fault(where=printable(layer), what="has a scale and no weights"))
            continue
        outputs, columns = stored.shape
        inputs = columns * WORD // bits if packed else columns
        columns_of_scales = -(-inputs // group) if group else 1
        dtypes = INT if packed else (("F8_E4M3",) if floats else ("I8",))
        wanted = {
            "weight_packed" if packed else "weight": (dtypes, stored.shape), "weight_scale": (SCALES, (outputs, columns_of_scales)),
        }  # fmt: skip
        if packed and not symmetric:
            wanted["weight_zero_point"] = (INT, (-(-outputs * bits // WORD), columns_of_scales))
        wrong += wrong_parts(saved, layer, wanted)
        layers[layer] = (outputs, inputs)
    kind = compressed_kind(
        bits, group, floats=floats, symmetric=symmetric, acts=acts if isinstance(acts, dict) else None
    )
    return Packing(bits=bits, group=group, kind=kind, layers=layers, wrong=tuple(wrong))


def compressed_kind(bits: int, group: int, *, floats: bool, symmetric: bool, acts: Mapping[str, Any] | None) -> str:
    known = {
        (8, True, True): "FP8_DYNAMIC" if floats else "W8A8", (8, False, False): "W8A16",
        (4, False, False): "W4A16" if symmetric else "W4A16_AWQ",
    }.get((bits, group == 0, acts is not None))  # fmt: skip
    if known is not None and TYPES[known].group_size == group and (not floats or known == "FP8_DYNAMIC"):
        return known
    return f"{'FP' if floats else 'W'}{bits}A{acts.get('num_bits', 16) if acts else 16}_G{group}"


READERS: dict[str, Callable[[Mapping[str, Any], Saved], Packing]] = {
    "gptq": gptq,
    "awq": awq,
    "compressed-tensors": compressed,
}
"""`quant_method` of a configuration -> who reads it."""
