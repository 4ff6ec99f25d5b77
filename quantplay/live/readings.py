"""Each detector as it stands, as records and as reasons in words."""

from __future__ import annotations

from quantplay.live import words
from quantplay.live.accumulate import evidence_of
from quantplay.live.detectors import KINDS, Crossing, Detectors, levels
from quantplay.live.reference import compared_with
from quantplay.live.state import JudgeState, Reading


def reason_of(detectors: Detectors, state: JudgeState, crossing: Crossing) -> str:
    place = detectors.signal(crossing.row)
    launch = crossing.kind == "launch"
    candidate, baseline = counted(state, place, launch)
    threshold = float(detectors.log_thresholds[KINDS.index(crossing.kind), crossing.row])
    name = detectors.relative[place]
    if crossing.row >= len(detectors.relative):
        ceiling = float(detectors.limits[crossing.row - len(detectors.relative)])
        return words.above_ceiling(
            name, candidate, since_launch=launch, ceiling=ceiling, before=compared_with(state), log_e=crossing.log_e,
            log_threshold=threshold,
        )  # fmt: skip
    return words.worse(
        name, candidate, baseline, since_launch=launch, tolerated=float(detectors.tolerated[place]),
        log_e=crossing.log_e, log_threshold=threshold,
    )  # fmt: skip


def readings_of(detectors: Detectors, state: JudgeState) -> tuple[Reading, ...]:
    found = []
    for kind, row_levels in zip(KINDS, levels(evidence_of(state))[0], strict=True):
        for row, log_e in enumerate(row_levels):
            place = detectors.signal(row)
            candidate, baseline = counted(state, place, kind == "launch")
            found.append(
                Reading.model_construct(
                    signal=detectors.relative[place],
                    detector=kind if row < len(detectors.relative) else f"floor_{kind}",
                    log_e=float(log_e),
                    log_threshold=float(detectors.log_thresholds[KINDS.index(kind), row]),
                    candidate=candidate,
                    baseline=baseline,
                )
            )
    return tuple(found)


def counted(state: JudgeState, signal: int, since_launch: bool) -> tuple[tuple[int, int], tuple[int, int]]:
    """(events, conversations) of the quantized model and of full precision."""
    counts = state.since_launch if since_launch else state.window
    (n_c, x_c), (n_b, x_b) = counts[signal]
    return (int(x_c), int(n_c)), (int(x_b), int(n_b))
