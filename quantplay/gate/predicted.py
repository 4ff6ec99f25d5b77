"""What play 2 predicted against what play 4 measured, and whether the win the plan is after came. Pure."""

from __future__ import annotations

from quantplay.gate.envelope import bottleneck_win
from quantplay.plan import Envelope
from quantplay.records import Artifact, Bound, Candidate, EnvelopeChoice, Evaluation, Performance, Record

MIB = 1 << 20
SLOWER = 1.05  # times full precision's time per token; less is noise
WHY: dict[Bound, str] = {
    "compute": "what holds generating up here is computing, not reading memory: unpacking the weights costs more than the bytes "
    "they save",
    "overhead": "most of a step here is neither reading nor computing, so smaller weights can't make it shorter",
    "memory bandwidth": "reading memory was predicted to hold it up, so the kernel for this type is slow on this chip",
}


class Compared(Record):
    """One number, before and after."""

    what: str
    predicted: float
    measured: float
    unit: str

    @property
    def error(self) -> float:
        """How far the prediction is off, as a share of what was measured."""
        return self.predicted / self.measured - 1


def candidate_of(choice: EnvelopeChoice, kind: str) -> Candidate | None:
    return next((one for one in choice.candidates if one.type == kind), None)


def compare(
    choice: EnvelopeChoice, kind: str, measured: Performance, reference: Performance | None = None
) -> tuple[Compared, ...]:
    """Every number that was predicted of type `kind` and measured since; () for a type nothing was predicted of.

    reference: full precision as measured in the same session. A machine that others use too slows both alike, so the share of its
    time holds where the milliseconds don't.
    """
    one = candidate_of(choice, kind)
    if one is None:
        return ()
    found = [
        compared("weights", (one.held_bytes or one.weights_bytes) / MIB, measured.weights_bytes / MIB, "MiB"),
        compared("key-value cache", one.cache_bytes / MIB, measured.cache_bytes / MIB, "MiB"),
        compared("peak memory", one.total_bytes / MIB, measured.peak_bytes / MIB, "MiB"),
    ]
    if one.prediction is not None:
        told = one.prediction
        found += [
            compared("time to first token", told.time_to_first_token_ms, measured.time_to_first_token_ms.p50, "ms"),
            compared("time per token", told.time_per_token_ms, measured.time_per_token_ms.p50, "ms"),
        ]
        full = choice.full_precision.prediction if choice.full_precision else None
        if full is not None and reference is not None:
            found.append(
                compared(
                    "time per token against full precision", told.time_per_token_ms / full.time_per_token_ms,
                    measured.time_per_token_ms.p50 / reference.time_per_token_ms.p50, "times",
                )
            )  # fmt: skip
    return tuple(item for item in found if item.measured > 0)


def compared(what: str, predicted: float, measured: float, unit: str) -> Compared:
    return Compared(what=what, predicted=predicted, measured=measured, unit=unit)


def win_sentences(
    envelope: Envelope, choice: EnvelopeChoice | None, evaluation: Evaluation, artifact: Artifact
) -> tuple[str, ...]:
    """Whether the win the plan named came, and what is to be said where the candidate is slower than full precision."""
    win, kind = bottleneck_win(envelope, evaluation, artifact), artifact.type
    one = candidate_of(choice, kind) if choice else None
    bound = one.prediction.decode_bound if one and one.prediction else None
    said = []
    if win.met:
        said.append(f"The win the plan is after came: {win.name}, is {win.measured:.2f} {win.unit}.")
    else:
        held = f" Generating is held up by {bound} here." if bound else ""
        said.append(f"The win the plan is after did not come: {win.name}, is {win.measured:.2f} {win.unit}.{held}")
    slower = evaluation.performance.time_per_token_ms.p50 / evaluation.reference_performance.time_per_token_ms.p50
    if slower > SLOWER:
        why = f": {WHY[bound]}" if bound else ""
        said.append(f"{kind} takes {slower:.2f} times as long a token as full precision{why}.")
    return tuple(said)
