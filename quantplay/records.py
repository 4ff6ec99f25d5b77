"""What plays hand on. Frozen, JSON-safe, and identified by the digest of their canonical JSON.

Units are in the names: `_bytes`, `_ms`, `_points` (percentage points), `_nats`. Scores lie in [0, 1].
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from quantplay.digest import digest_of, digest_of_entries

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Arm = Literal["source", "reference", "candidate"]
"""source: full precision as the team runs it (transformers); reference: full precision in the serving runtime."""
Verdict = Literal["pass", "close", "broken", "inconclusive"]
Split = Literal["dev", "gate"]
InputKind = Literal["model", "calibration", "evaluation", "heldout", "traffic"]
Role = Literal["ml_engineer", "product_owner", "engineering_manager", "on_call"]


class Record(BaseModel):
    """Base of all records: frozen, no unknown fields, finite numbers only."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    later: ClassVar[frozenset[str]] = frozenset()
    """Fields younger than the record: left out of the JSON while empty, so that digests of older records stay true."""

    @model_serializer(mode="wrap")
    def _without_empty_later_fields(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        body = handler(self)
        for name in self.later:
            if not body.get(name):
                body.pop(name, None)
        return body

    def body(self) -> dict[str, Any]:
        """JSON-safe dictionary; `type(self).model_validate(body)` gives the record back."""
        return self.model_dump(mode="json")

    def digest(self) -> str:
        return digest_of(self.body())


# --- inputs ------------------------------------------------------------------------------------------------------


class FileEntry(Record):
    path: str  # relative to the set, `/` as separator
    size_bytes: int
    sha256: Digest


class Manifest(Record):
    """A pinned input: every file with its digest. `digest` does not depend on where the files lie."""

    kind: InputKind
    source: str  # as the plan wrote it: a path relative to the plan, or a hub id
    revision: str | None = None  # full commit of a hub source
    files: tuple[FileEntry, ...]
    content: Digest  # digest of (path, sha256) of all files

    @classmethod
    def of(cls, kind: InputKind, source: str, files: tuple[FileEntry, ...], revision: str | None = None) -> Self:
        content = digest_of_entries((file.path, file.sha256) for file in files)
        return cls(kind=kind, source=source, revision=revision, files=files, content=content)

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)


class Inputs(Record):
    """All that a run reads, pinned before any result exists."""

    later = frozenset({"traffic"})

    model: Manifest
    calibration: Manifest
    evaluation: Manifest
    heldout: Manifest
    traffic: Manifest | None = None  # sample of traffic the calibration set is compared with

    @property
    def manifests(self) -> tuple[Manifest, ...]:
        """Every input there is."""
        known = (self.model, self.calibration, self.evaluation, self.heldout)
        return known if self.traffic is None else (*known, self.traffic)


# --- where a measurement was made ----------------------------------------------------------------------------------


class Hardware(Record):
    cpu: str  # model name as the system gives it
    cpu_features: Digest  # digest of the sorted instruction-set flags
    cores: int  # usable by this process
    memory_bytes: int
    accelerators: tuple[str, ...] = ()


class Software(Record):
    system: str  # kernel and C library
    python: str
    packages: dict[str, str]  # name -> version of every package that can change a number
    runtime: str  # llama.cpp's own description of build and enabled instruction sets


class Fingerprint(Record):
    """What a number was measured on: equal digests mean comparable numbers."""

    hardware: Hardware
    software: Software
    threads: int


# --- results -------------------------------------------------------------------------------------------------------


class ItemResult(Record):
    """One evaluation item answered by one arm."""

    id: str
    slice: str
    cluster: str  # source document; items of one document are not independent
    score: float = Field(ge=0, le=1)
    graded: bool = False  # False: right or wrong
    response: str  # what the model said, whole
    gold_loss_nats: float | None = None  # mean loss of the expected answer's tokens; only where asked for


class ArmRun(Record):
    """One model in one runtime over one split of the evaluation set."""

    arm: Arm
    runtime: str  # transformers | llama.cpp
    precision: str  # float32, bfloat16, Q4_K_M ...
    model: Digest  # content digest of the weights that ran
    split: Split
    harness: Digest
    items: tuple[ItemResult, ...]
    seconds: float
    peak_resident_bytes: int  # of the child process that ran it

    def scores(self) -> dict[str, float]:
        """Mean score a slice, in the order of first appearance."""
        by_slice: dict[str, list[float]] = {}
        for item in self.items:
            by_slice.setdefault(item.slice, []).append(item.score)
        return {name: sum(values) / len(values) for name, values in by_slice.items()}


class Divergence(Record):
    """Candidate against reference over held-out text, at every scored position. Alarms, never a verdict."""

    tokens: int
    mean_kl_nats: float
    mean_kl_se: float
    p99_kl_nats: float
    max_kl_nats: float
    top1_agreement: float
    top1_se: float
    perplexity_reference: float
    perplexity_candidate: float
    log_perplexity_ratio_se: float


class Spread(Record):
    """Median and 95th percentile over repeats."""

    p50: float
    p95: float


class Performance(Record):
    """Speed at the plan's context and batch, and memory; measured alone, interleaved with the other arm."""

    context_tokens: int
    batch: int  # concurrent sequences
    threads: int
    repeats: int
    time_to_first_token_ms: Spread
    time_per_token_ms: Spread  # a sequence, while `batch` sequences decode together
    prompt_tokens_per_second: float
    generated_tokens_per_second: float  # all sequences together
    weights_bytes: int
    cache_bytes: int  # key-value cache at this context and batch
    peak_resident_bytes: int


class NoiseFloor(Record):
    """The baseline against itself with another batch size, item order and thread count."""

    changed: str  # what was varied, in words
    items: int
    flip_rate: float  # share of items whose score changed
    max_drop_points: dict[str, float]  # a slice: absolute difference of the means


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


class EnvelopeChoice(Record):
    """Play 2: what will run, and what else was considered."""

    runtime: str
    chosen: Candidate
    candidates: tuple[Candidate, ...]  # by rank
    budget_bytes: int | None
    bottleneck: str  # memory | latency | throughput | cost
    reasons: tuple[str, ...]
    fingerprint: Fingerprint


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
    hardest_loss_reference: dict[str, float] = {}  # item id -> gold loss of the reference, hardest items only
    hardest_loss_candidate: dict[str, float] = {}


# --- the decision --------------------------------------------------------------------------------------------------


class SliceVerdict(Record):
    """One gated quantity: the numbers, the verdict and a sentence."""

    slice: str  # slice name, or "hardest"
    metric: Literal["score", "gold_loss"]
    unit: str  # points | nats
    verdict: Verdict
    reason: str
    items: int
    clusters: int
    baseline: float  # mean: points (0 to 100) or nats
    candidate: float
    drop: float  # baseline - candidate for scores, candidate - baseline for losses: positive is worse
    interval_low: float  # two-sided 90 % interval: its ends are the two one-sided 95 % bounds at one attempt
    interval_high: float
    upper: float  # one-sided upper bound at this attempt's level; pass needs upper <= max_drop
    lower_holm: float  # Holm-adjusted one-sided lower bound; broken needs lower_holm > broken_drop
    max_drop: float
    broken_drop: float
    lost: int  # right before, wrong now
    won: int  # wrong before, right now
    mcnemar_p: float | None  # descriptive
    conversion_drop: float | None = None  # source -> reference, the share of the drop that is not quantization
    items_missing: int | None = None  # inconclusive: how many more items would be needed
    lower_loss: float = 0.0  # Holm-adjusted lower bound, two-sided, against no drop at all; close needs it above 0

    later = frozenset({"lower_loss"})


class EnvelopeCheck(Record):
    """One promise of play 2 against what was measured."""

    name: str  # artifact size, memory, time to first token, tokens per second ...
    limit: float
    measured: float
    unit: str
    met: bool


class Alarm(Record):
    """A number that deserves a look and never decides."""

    name: str
    value: float
    limit: float
    unit: str
    text: str


class GateChange(Record):
    """A gate laxer than one that has already looked at the same model and evaluation set: gate erosion."""

    field: str  # dotted path in the gate
    before: str  # in words; "not gated" where a slice was left out
    now: str
    plan: Digest  # the earlier plan
    looked_at: str  # when that plan looked, ISO 8601


class Waiver(Record):
    """A defect that the plan accepts, with its reason."""

    rule: str
    reason: str
    what: str  # the defect it waives, in a sentence


class TargetCheck(Record):
    """The chip the plan will serve on against the one measured on."""

    target: str | None  # as the plan names it; None where it does not
    measured: str
    same: bool


class Decision(Record):
    """Play 4: the verdict of the frozen gate."""

    later = frozenset({"gate_changes", "target", "waivers"})

    verdict: Verdict
    envelope_met: bool
    reasons: tuple[str, ...]  # sentences a product owner understands, the deciding one first
    next_play: str  # lock | mixed precision | quantization-aware training | next candidate | more items
    slices: tuple[SliceVerdict, ...]
    envelope: tuple[EnvelopeCheck, ...]
    alarms: tuple[Alarm, ...]
    gate: Digest
    baseline: Digest
    evaluation: Digest
    attempt: int
    attempts: int
    alpha: float  # level of this attempt
    gate_changes: tuple[GateChange, ...] = ()  # where this gate is laxer than an earlier look's
    target: TargetCheck | None = None
    waivers: tuple[Waiver, ...] = ()


class SignOff(Record):
    """A person's signature under a decision (stage gate) or a package (stage lock)."""

    run: str
    stage: Literal["gate", "lock"]
    role: Role
    verdict: Literal["approve", "reject", "rework"]
    person: str  # as the owners file names them
    comment: str
    gate: Digest
    decision: Digest  # of the Decision record
    manifest: Digest | None = None  # of the package's manifest.json, at stage lock
    nonce: str  # random, used once
    issued_at: str  # ISO 8601, UTC
    expires_at: str
    recorded_at: str
    text: str  # what was signed, byte for byte
    signature: str  # armored SSH signature
    key: str  # fingerprint of the public key, SHA256:...
    owners: Digest  # of the owners file it was checked against


# --- calibration ---------------------------------------------------------------------------------------------------


class CalibrationFinding(Record):
    """One defect of a calibration set."""

    rule: str  # calibration.duplicates ...: what a plan's deviation names to waive it
    what: str  # a sentence
    value: str
    allowed: str
    samples: tuple[str, ...] = ()  # ids concerned, the first ten
    waiver: str | None = None  # the plan's reason for accepting it


class CalibrationCheck(Record):
    """What a calibration set is like, and what is wrong with it."""

    calibration: Digest
    samples: int
    findings: tuple[CalibrationFinding, ...]
    figures: dict[str, float]  # name with unit -> value: samples, tokens_p50, near_duplicate_share ...

    @property
    def open(self) -> tuple[CalibrationFinding, ...]:
        """Findings that no waiver covers."""
        return tuple(finding for finding in self.findings if finding.waiver is None)


class PackageRef(Record):
    """Play 7: a written hand-off package."""

    run: str
    path: str
    manifest: Digest  # digest of manifest.json
    archive: str | None
    size_bytes: int
