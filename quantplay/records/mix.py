"""Which type every group of tensors gets, what was measured to find out, and all that another budget needs."""

from __future__ import annotations

from typing import Literal

from quantplay.records.base import Digest, Record

Origin = Literal["mix", "uniform", "llama.cpp"]
"""mix: allocated group by group; uniform: one type everywhere; llama.cpp: its own mix of that name."""


class TypeOption(Record):
    """One type a group may take."""

    kind: str  # ggml type, or serving type of a folder; `full`: as in the source
    stored_bytes: int  # in the file, padding included
    damage_nats: float  # alone in this type, all else in full precision; on calibration text
    measured: bool  # False: interpolated between types that were


class GroupOptions(Record):
    """What one group may take."""

    group: str
    tensors: dict[
        str, dict[str, str]
    ]  # kind -> tensor -> type it is stored as: llama.cpp falls back where rows don't fit
    types: tuple[TypeOption, ...]
    gain_nats: float | None  # what restoring this group alone is worth in the all-low model; None: not measured
    base: str  # its type in the all-low model


class DamageFit(Record):
    """How isolated damages combine: see quantplay/mixed/damage.py."""

    scale: float  # damage on the measuring text over that on the calibration text
    optimism: float  # of mixes that were chosen because they look good
    turn_nats: float  # summed damage around which damages stop adding up
    curve: float  # by which power they combine beyond it
    weight: float  # of the restore-one anchor: 0 as at full precision, 1 as in the all-low model
    groups: dict[str, float]  # group -> factor on its damage
    types: dict[str, float]  # interpolated type -> factor on its damages
    error: float | None  # relative, of predictions made before their measurement


class MeasuredMix(Record):
    """A file that was made and measured, and is not kept."""

    name: str
    origin: Origin
    groups: dict[str, str]  # group -> type; empty for llama.cpp's own
    size_bytes: int
    predicted_nats: float | None  # before it was measured; None: the model had nothing to go by yet
    mean_kl_nats: float
    mean_kl_se: float
    round: int  # 0: what mixes are compared with


class MixChoice(Record):
    """Play 5: the types of the next candidate, the frontier, and all that another budget needs."""

    later = frozenset({"threads"})

    sensitivity: Digest
    reference: Digest  # sha256 of the full-precision file
    importance: Digest | None  # of the matrix the mixes were quantized with
    short: Digest  # sha256 of the artifact that fell short
    short_type: str
    budget_bytes: int
    other_bytes: int  # of the file beside the groups: header, norms, biases
    groups: tuple[GroupOptions, ...]
    fit: DamageFit
    measured: tuple[MeasuredMix, ...]
    text: Digest  # of the text they were measured on
    text_tokens: int  # scored
    name: str  # of the chosen one among `measured`, or of a mix allocated later
    origin: Origin
    type: str  # serving type the recipe names: llama.cpp's own mix, or the type nearest to what most weights got
    types: dict[str, str]  # group -> type; empty for llama.cpp's own mix
    size_bytes: int
    predicted_nats: float
    mean_kl_nats: float | None  # None: another budget, not measured
    seconds: float
    peak_resident_bytes: int
    threads: int = 0  # that matrix and mixes were made with; 0: not recorded then
