"""`quantplay worker`: pull runs from a pool, on this machine, until it is told to stop."""

from __future__ import annotations

from quantplay.errors import InputError

POOLS = ("cpu", "gpu")


def command(pool: str, name: str | None = None, device: str | None = None) -> int:
    from flows.places import Place, default_name
    from flows.worker import serve
    from quantplay.settings import settings

    if pool not in POOLS:
        raise InputError(
            "there is no such pool", value=pool, allowed=" or ".join(POOLS), fix="quantplay worker --pool gpu"
        )
    place = Place(name=name or default_name(pool), pool=pool, device=device or device_of(pool))
    serve(settings(), place, lambda text: print(text, flush=True))
    return 0


def device_of(pool: str) -> str:
    """The device where none is named: orchestration needs none, heavy plays take the first one."""
    from quantplay.envelope.hardware import read_devices

    return next(iter(read_devices()), "cpu") if pool == "gpu" else "cpu"
