"""How much each group of tensors suffers from each type."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from quantplay.records.base import Digest, Record


class TypeDamage(Record):
    """One group stored as one type, all else in full precision."""

    kind: str  # ggml type
    stored_bytes: int  # of the group's tensors in the file
    weight_error: float  # squared error of the weights over their squares, both weighed by the importance matrix
    mean_kl_nats: float
    mean_kl_se: float  # standard error; of interpolated figures with the interpolation's own error
    low_nats: float  # 95 % interval
    high_nats: float
    how: Literal["measured", "interpolated", "proxy"]
    sequences: int = Field(ge=0)  # it was measured on; 0: it was not


class GroupSensitivity(Record):
    """One group under every type, and what restoring it is worth where everything else is low."""

    group: str
    tensors: tuple[str, ...]  # GGUF names, or layers of a folder
    block: int | None
    weights: int
    full_bytes: int  # in the full-precision file
    types: tuple[TypeDamage, ...]  # most bits first
    restored_gain_nats: float | None = None  # all-low damage less that with this group alone in full precision
    restored_gain_se: float | None = None
    proxy_nats: float | None = None  # the proxy's score of its damage, at the all-low point; only where a proxy ran
    proxy_gain_nats: float | None = None  # the gradient's word on the gain, at the same point

    def of(self, kind: str) -> TypeDamage:
        """The damage of `kind`. Raises KeyError where the scan left that type out for this group."""
        for damage in self.types:
            if damage.kind == kind:
                return damage
        raise KeyError(kind)


class Check(Record):
    """An interpolated figure against a measurement of the same."""

    group: str
    kind: str
    interpolated_nats: float
    measured_nats: float


class Sensitivity(Record):
    """Damage by group and type, on calibration text held out from the importance matrix.

    Damage is the mean KL divergence from full precision, nats a position, with the quantizer that ships.
    """

    model: Digest  # of the full-precision file
    importance: Digest | None
    rows: Digest  # of the tokens it was measured on
    sequences: int
    tokens: int  # a sequence
    positions: int  # scored a sequence
    types: tuple[str, ...]  # most bits first
    high: str  # the two types measured for every group; the others are interpolated
    low: str
    base: str  # the type every group has in the all-low model
    groups: tuple[GroupSensitivity, ...]  # in the model's order
    base_kl_nats: float  # damage of the all-low model
    base_kl_se: float
    checks: tuple[Check, ...]
    exact_groups: int  # measured; the others were ranked by the gradient proxy
    proxy_agreement: float | None = None  # rank correlation of proxy and measurement on the measured groups
    block_forward_tokens: int  # blocks times tokens that were run; a backward pass counts as two forward
    full_scan_block_forward_tokens: int  # of one full forward a group and type
    seconds: float
    peak_resident_bytes: int

    def ranking(self, kind: str) -> tuple[str, ...]:
        """Groups by damage as `kind`, the worst first, ties by name."""
        damages = {group.group: group.of(kind).mean_kl_nats for group in self.groups if kind in kinds(group)}
        return tuple(sorted(damages, key=lambda name: (-damages[name], name)))


class ScanPart(Record):
    """What one worker measured of a scan that several share: `quantplay.mixed.assemble` makes the record of all parts."""

    scan: Digest  # key of the sensitivity
    part: int  # from 0
    parts: int
    measured: dict[str, Any]  # as `quantplay.mixed.sensitivity.scan` returned it


def kinds(group: GroupSensitivity) -> tuple[str, ...]:
    return tuple(damage.kind for damage in group.types)
