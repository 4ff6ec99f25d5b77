"""What a run took of which devices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from quantplay.store.jobs import Job


def device_line(jobs: Sequence[Job], duration: Callable[[float], str]) -> str | None:
    """`Devices: baseline 1 min 20 s, ptq 14.0 s on GPU-1 of rack-1`; None for a run that used none. `duration`: of seconds."""
    from quantplay.store.jobs import hours_by_play

    if not jobs:
        return None
    hours = hours_by_play(jobs)
    plays = ", ".join(f"{play} {duration(spent * 3600)}" for play, spent in hours.items())
    places = ", ".join(dict.fromkeys(f"{job.device} of {job.host}" for job in jobs))
    ended = [job.outcome for job in jobs]
    notes = [
        f"{ended.count(outcome)} {word}"
        for outcome, word in ((None, "still running"), ("failed", "failed"), ("lost", "lost: not counted"))
        if outcome in ended
    ]
    return f"Devices: {plays} on {places}" + (f" ({', '.join(notes)})" if notes else "")


def jobs_body(jobs: Sequence[Job]) -> dict[str, Any]:
    """JSON-safe: device-hours of each play, and every use of a device."""
    from quantplay.store.jobs import hours_by_play

    return {
        "device_hours": {play: round(hours, 6) for play, hours in hours_by_play(jobs).items()},
        "jobs": [
            {
                "play": job.play, "host": job.host, "device": job.device, "outcome": job.outcome,
                "started_at": job.started_at.isoformat(),
                "finished_at": job.finished_at.isoformat() if job.finished_at else None,
            }
            for job in jobs
        ],
    }  # fmt: skip
