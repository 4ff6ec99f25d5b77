"""Whether a serving format is made for the runtime and the device it is to run on. The format follows from them, not the reverse."""

from __future__ import annotations

from quantplay.envelope.runtimes import RUNTIMES
from quantplay.formats import TYPES
from quantplay.plan import Envelope

RULE = "envelope.format"
MANY = 8  # requests at a time that make a server of a GPU a busy one
PACKED_FOR_GPU = ("W4A16", "W4A16_AWQ", "W8A16", "GPTQ_INT4")


def mismatch(envelope: Envelope, kinds: tuple[str, ...]) -> str | None:
    """Why types `kinds` of this runtime are the wrong ones for this device, a sentence; None where they are not."""
    made = RUNTIMES[envelope.runtime]
    if envelope.device not in made.devices:
        return (
            f"{envelope.runtime} serves on {' or '.join(made.devices)}, and this plan's device is a {envelope.device}."
        )
    packed = [kind for kind in kinds if kind in PACKED_FOR_GPU]
    if envelope.device == "cpu" and packed:
        return (
            f"{', '.join(packed)} is made for GPU kernels; on a CPU every weight is unpacked before every use, which is slower than full "
            "precision. GGUF types in llama.cpp are made for CPUs."
        )
    busy = envelope.batch >= MANY or envelope.bottleneck == "throughput"
    if envelope.device == "gpu" and not made.many and busy and any(TYPES[kind].format == "gguf" for kind in kinds):
        return (
            f"GGUF in {envelope.runtime} is made for few requests at a time; a GPU that serves {envelope.batch} together, or for "
            "throughput, wants compressed-tensors in vllm."
        )
    return None
