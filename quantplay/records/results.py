"""What plays 1 to 4 make of inputs and measurements."""

from __future__ import annotations

from pydantic import Field

from quantplay.records.base import Digest, Record
from quantplay.records.measurements import ArmRun, Divergence, NoiseFloor, Performance
from quantplay.records.place import Fingerprint
from quantplay.records.prediction import Machine, Prediction


class Baseline(Record):
    """Play 1: full precision on the frozen evaluation set, in its own runtime and in the serving runtime."""

    model: Digest
    evaluation: Digest
    harness: Digest
    fingerprint: Fingerprint
    precision: str
    source: ArmRun
    reference: ArmRun
    hardest: tuple[str, ...]  # ids of the hardest items, frozen here, hardest first
    difficulty: str  # how difficulty was determined, in words
    noise_floor: NoiseFloor
    performance: Performance  # of the reference arm


class Candidate(Record):
    """One serving type the envelope considered."""

    format: str
    type: str
    bits_per_weight: float
    weights_bytes: int
    cache_bytes: int
    total_bytes: int  # weights, cache, activations and reserve
    fits: bool
    rank: int  # 1 is tried first
    reason: str
    prediction: Prediction | None = None
    held_bytes: int = 0  # of the weights in memory where that is more than `weights_bytes`: unpacked; 0 where it is not

    later = frozenset({"prediction", "held_bytes"})


class EnvelopeChoice(Record):
    """Play 2: what will run, and what else was considered."""

    runtime: str
    chosen: Candidate
    candidates: tuple[Candidate, ...]  # by rank
    budget_bytes: int | None
    bottleneck: str  # memory | latency | throughput | cost | storage
    reasons: tuple[str, ...]
    fingerprint: Fingerprint
    machine: Machine | None = None  # that the predictions are for
    full_precision: Candidate | None = None  # what the candidates are compared with
    wrong_moves: tuple[str, ...] = ()  # why quantization would be the wrong move here, a sentence each

    later = frozenset({"machine", "full_precision", "wrong_moves"})


class Recipe(Record):
    """Everything needed to make the artifact again, byte for byte on the same stack."""

    format: str  # gguf
    type: str  # Q4_K_M ...
    method: str  # how, in one name: llama.cpp-quantize
    bits_per_weight: float  # nominal bits of the weights
    bits_activations: int  # 16 for weight-only
    group_size: int  # weights that share one scale
    importance_matrix: bool
    tensor_types: dict[str, str]  # regex -> type, in order; overrides of the format's own mix
    higher_precision: tuple[str, ...]  # tensors meant to stay above the type, in words or regexes
    model: Digest
    calibration: Digest
    calibration_samples: int
    calibration_tokens: int  # a chunk
    seed: int
    threads: int
    versions: dict[str, str]  # every library whose version can change the bytes
    converter: Digest  # of the converter's sources
    trained: Digest | None = None  # sha256 of the master weights it is rounded from, where `model` was trained further

    imported: Digest | None = (
        None  # sha256 of an artifact that was quantized elsewhere: this very file, made by nobody here
    )

    later = frozenset({"imported", "trained"})


class Artifact(Record):
    """Play 3: the file that is served."""

    recipe: Digest
    format: str
    type: str
    file_name: str
    sha256: Digest
    size_bytes: int
    bits_per_weight: float  # measured: 8 * tensor bytes / weights
    tensors: dict[str, str]  # tensor name -> stored type
    importance_matrix: Digest | None
    seconds: float
    peak_resident_bytes: int


class Evaluation(Record):
    """Play 4: the candidate through the identical harness."""

    baseline: Digest  # key of the baseline compared with
    artifact: Digest  # sha256 of the file that ran
    harness: Digest
    fingerprint: Fingerprint
    candidate: ArmRun
    divergence: Divergence
    performance: Performance  # of the candidate
    reference_performance: Performance  # measured in the same interleaved session
    hardest_loss_reference: dict[str, float] = Field(
        default={}
    )  # item id -> gold loss of the reference, hardest items only
    hardest_loss_candidate: dict[str, float] = Field(default={})
