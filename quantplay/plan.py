"""What a team writes down before any result: model, data, envelope, gate, owners. One YAML file, one schema.

This module holds the schema. `quantplay.plays.check` holds what needs more than the file: the sets, the formats, the power.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from quantplay.digest import digest_of
from quantplay.records import Record, RollbackRules

SCHEMA_VERSION = 1
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
Profile = Literal["production", "internal", "explore"]


class Part(Record):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


class ModelSource(Part):
    """The full-precision model: a local folder, or a hub repository at one commit."""

    source: str = Field(min_length=1, description="Folder relative to the plan, or a hub id such as org/name.")
    commit: str | None = Field(
        default=None,
        pattern=r"^[0-9a-f]{40}$",
        description="Full commit of a hub source. A branch or tag moves and is refused.",
    )


class Calibration(Part):
    """In-domain texts that steer the quantizer."""

    later = frozenset({"traffic"})

    file: str = Field(min_length=1, description="JSONL with `id` and `text`, relative to the plan.")
    samples: int = Field(default=256, ge=1, le=100_000, description="How many samples to use, from the top.")
    tokens: int = Field(default=512, ge=16, le=1_048_576, description="Longest sample, in tokens; the rest is cut off.")
    traffic: str | None = Field(
        default=None,
        min_length=1,
        description="JSONL with `id` and `text`: a recent sample of what the model is asked, to check the domain against.",
    )


class SliceInfo(Part):
    """How one slice of the evaluation set is to be read."""

    title: str = Field(min_length=1, description="What the slice shows, in words a product owner understands.")
    fragile: bool = Field(default=True, description="Known to break first under quantization.")


class EvaluationSet(Part):
    """The team's own tasks, frozen: `gate` decides, `dev` may be looked at as often as needed."""

    later = frozenset({"baseline_days"})

    gate: str = Field(min_length=1, description="JSONL of the gate split, relative to the plan.")
    dev: str = Field(min_length=1, description="JSONL of the dev split, relative to the plan.")
    heldout: str = Field(min_length=1, description="JSONL with `id` and `text` for perplexity and divergence.")
    tasks: tuple[str, ...] = Field(default=(), description="The team's own lm-eval task files (YAML), as well.")
    allow_code: tuple[str, ...] = Field(
        default=(), description="Names of task files that may run Python code (`!function`). Empty: none may."
    )
    slices: dict[str, SliceInfo] = Field(min_length=1, description="Every slice the files contain.")
    baseline_days: int | None = Field(
        default=None, ge=1, le=3650, description="A baseline is measured again after this many days; empty: 90."
    )


class Decoding(Part):
    """How answers are generated, the same for every arm. Greedy."""

    max_tokens: int = Field(default=64, ge=1, le=65_536, description="Longest answer in tokens.")
    stop: tuple[str, ...] = Field(default=("\n",), description="An answer ends at the first of these.")


class Envelope(Part):
    """Where the model will run and what it must achieve there."""

    later = frozenset({"cache_type", "target_chip"})

    runtime: Literal["llama.cpp", "llama.cpp-server", "vllm", "transformers"] = Field(
        default="llama.cpp",
        description="The serving runtime; the serving format follows from it. llama.cpp-server and vllm are asked as their "
        "clients ask them, over HTTP.",
    )
    device: Literal["cpu", "gpu"] = Field(default="cpu", description="What it runs on.")
    target_chip: str | None = Field(
        default=None,
        min_length=1,
        description="Chip it will be served on, as `quantplay doctor` prints it (* and ? stand for anything), or "
        "`this machine`. Another chip than the one measured on is flagged.",
    )
    bottleneck: Literal["memory", "latency", "throughput", "cost", "storage"] = Field(
        default="memory",
        description="What is to be won; play 4 checks that this very win materialised. storage: the file itself, for a model "
        "that is sent to many places.",
    )
    types: tuple[str, ...] = Field(
        default=(), description="Serving types to consider, best first. Empty: the planner's own 4-bit order."
    )
    max_artifact_mib: float | None = Field(default=None, gt=0, description="Largest artifact in MiB (2^20 bytes).")
    memory_mib: float | None = Field(default=None, gt=0, description="Memory for weights, cache and activations.")
    context_tokens: int = Field(default=512, ge=16, le=1_048_576, description="Prompt and answer together.")
    batch: int = Field(default=1, ge=1, le=1024, description="Sequences served at the same time.")
    cache_type: Literal["f16", "q8_0", "q4_0"] | None = Field(
        default=None,
        description="Type of the key-value cache while it serves, in llama.cpp; left out: f16. What it costs in quality is in "
        "the gate's answers.",
    )
    max_time_to_first_token_ms: float | None = Field(default=None, gt=0, description="At the 95th percentile.")
    min_tokens_per_second: float | None = Field(default=None, gt=0, description="Generated, all sequences together.")
    max_slowdown: float | None = Field(
        default=None, gt=0, description="Time per token against full precision in the serving runtime, at most."
    )


class Tolerance(Part):
    """How much worse one slice may become, in percentage points."""

    max_drop: float = Field(gt=0, le=100, description="Passes when the upper bound of the drop is at most this.")
    broken_drop: float = Field(gt=0, le=100, description="Broken when the lower bound of the drop is above this.")


class HardestTolerance(Tolerance):
    """The hardest share of all items, frozen at baseline time; its answers and the loss of the gold answer."""

    share: float = Field(default=0.1, gt=0, le=0.5, description="Share of the items.")
    max_loss_rise: float = Field(gt=0, description="Rise of the gold answer's mean loss, in nats a token.")
    broken_loss_rise: float = Field(gt=0, description="Broken when the lower bound of the rise is above this.")


class AlarmLimits(Part):
    """Numbers that raise an alarm and never decide."""

    mean_kl_nats: float = Field(default=0.1, gt=0)
    top1_agreement: float = Field(default=0.9, gt=0, le=1)
    perplexity_ratio: float = Field(default=1.05, gt=0)


class Gate(Part):
    """The decision rule, frozen with its own digest before any result exists."""

    slices: dict[str, Tolerance] = Field(min_length=1, description="A tolerance for every gated slice.")
    hardest: HardestTolerance
    attempts: int = Field(default=1, ge=1, le=20, description="Looks at the gate split; each is tested at 5 %/N.")
    expected_flip_rate: float = Field(
        default=0.05, gt=0, le=1, description="Share of items a lossless candidate is expected to answer differently."
    )
    alarms: AlarmLimits = AlarmLimits()


class Owners(Part):
    """Who answers for what: names or e-mail addresses."""

    ml_engineer: str = Field(min_length=1)
    product_owner: str = Field(min_length=1)
    engineering_manager: str | None = None
    on_call: str | None = None


WAIVABLE: dict[str, str] = {
    "calibration.count": "fewer calibration samples than 128, or more than 512",
    "calibration.duplicates": "samples that occur more than once",
    "calibration.near_duplicates": "samples that differ in a few words only",
    "calibration.giant_documents": "documents far longer than what is read of them",
    "calibration.length_variety": "samples that are all about equally long",
    "calibration.topic_variety": "samples that are all about the same thing",
    "calibration.overlap": "samples that contain what the evaluation set asks",
    "calibration.domain": "samples unlike the sample of traffic",
    "envelope.target_chip": "measured on another chip than the one it will be served on",
    "envelope.format": "a serving format that the runtime or the chip is not made for",
    "envelope.wrong_move": "quantizing although the planner says it is the wrong move here",
    "standards.profile": "a profile that the organisation's standards don't allow for this use case",
    "standards.types": "serving types that are not in use in the organisation",
    "standards.bits": "fewer bits than the standards allow",
    "standards.tolerance": "a slice, or the hardest items, allowed to lose more than the standards allow",
    "standards.items": "fewer items than the standards ask for, a slice",
    "standards.slices": "a slice that the standards ask for and the plan does not gate",
    "standards.samples": "another number of calibration samples than the standards ask for",
    "standards.parts": "a part that the standards ask for and the plan leaves out",
    "standards.owners": "a role that the standards want named, and the plan does not name",
}
"""Defects a plan may accept with a recorded reason: name of the rule -> what it accepts."""


class Deviation(Part):
    """A recorded reason for accepting a defect."""

    rule: str = Field(min_length=1, description="Name of the rule that is waived.")
    reason: str = Field(min_length=8, description="Why; shown in gate table, report and package.")


class BusinessCase(Part):
    """What training the quantized model (play 6) would cost and win. Without it, and a manager's signature, it never runs."""

    later = frozenset({"quantizing_cost"})

    currency: str = Field(
        default="USD", pattern=r"^[A-Z]{3}$", description="Of every amount here: three letters, ISO 4217."
    )
    requests_per_day: float = Field(gt=0, description="Requests the model serves, a day.")
    tokens_per_request: float = Field(gt=0, description="Tokens of one request, prompt and answer together.")
    serving_cost_per_million_tokens: float = Field(
        ge=0, description="What serving costs at full precision, a million tokens."
    )
    serving_saving_percent: float = Field(
        default=0, ge=0, le=100, description="Share of that cost the quantized model saves, in percent."
    )
    worth_per_gib_month: float = Field(default=0, ge=0, description="What one GiB of freed memory is worth, a month.")
    worth_per_point_month: float = Field(
        default=0, ge=0, description="What one percentage point of quality is worth, a month."
    )
    training_cost: float = Field(ge=0, description="What the training costs in all: machines and people.")
    months: float = Field(gt=0, le=120, description="How long the model will serve, in months of 30 days.")
    quantizing_cost: float = Field(
        default=0, ge=0, description="What quantizing without training costs in all; 0: not to be weighed."
    )


class MixedPrecision(Part):
    """Play 5: after a candidate that comes close, bytes move to where they are missed most; the gate looks once more."""

    max_artifact_mib: float | None = Field(
        default=None, gt=0, description="Largest file in MiB (2^20 bytes). Empty: growth_percent decides."
    )
    growth_percent: float = Field(
        default=25,
        ge=0,
        le=400,
        description="How much larger than the file that came short, where no maximum is given.",
    )
    types: tuple[str, ...] = Field(
        default=(),
        description="Types a group of tensors may take: of ggml such as Q4_K; of a folder full, W8A16, W4A16. Empty: a ladder around the short one.",
    )
    sequences: int = Field(default=32, ge=4, le=4096, description="Calibration texts every measurement runs over.")
    tokens: int = Field(
        default=256, ge=16, le=1_048_576, description="Longest of them, in tokens; the rest is cut off."
    )


class Training(Part):
    """Play 6: how the quantized model is trained, once a manager signed the business case."""

    later = frozenset({"gradient_checkpointing", "micro_rows"})

    file: str = Field(
        min_length=1, description="JSONL with `id` and `text`, relative to the plan; nothing the gate asks."
    )
    steps: int = Field(default=600, ge=1, le=10_000_000, description="Updates of the weights, at most.")
    learning_rate: float = Field(default=1e-4, gt=0, le=1, description="At its highest; falls to zero along a cosine.")
    rows: int = Field(default=24, ge=1, le=65_536, description="Sequences behind one update.")
    row_tokens: int = Field(default=256, ge=16, le=1_048_576, description="Tokens of one sequence.")
    micro_rows: int | None = Field(
        default=None,
        ge=1,
        le=65_536,
        description="Sequences that are in memory at once, where those of an update don't fit; empty: all.",
    )
    gradient_checkpointing: bool = Field(
        default=False, description="Save memory by computing every block twice: larger models, a third more time."
    )
    checkpoint_every: int = Field(
        default=25, ge=1, le=1_000_000, description="Updates between two looks at the dev split."
    )
    patience: int = Field(
        default=6, ge=1, le=1000, description="Looks without a gain after which training stops early."
    )
    seed: int = Field(default=0, ge=0, lt=2**32, description="Of the order of the texts.")


class Plan(Part):
    """One model, one purpose, one gate."""

    later = frozenset(
        {"business_case", "imported", "mixed_precision", "rollback_rules", "training", "updates", "use_case_class"}
    )

    schema_version: Literal[1] = Field(alias="schema", default=1, description="Version of this file's schema.")
    name: Name = Field(description="Short name: lower-case letters, digits, - and _.")
    use_case: str = Field(min_length=1, description="What the model does, in a sentence.")
    use_case_class: Name | None = Field(
        default=None,
        description="Which use case of the organisation's standards this is; empty: `default`. Without standards it says nothing.",
    )
    trade_off: str = Field(
        default="", description="In words: what is given up for what. Goes on the first page of the package."
    )
    profile: Profile = Field(description="production: everything; internal: low stakes; explore: never lockable.")
    seed: int = Field(default=0, ge=0, lt=2**32)
    model: ModelSource
    calibration: Calibration
    evaluation: EvaluationSet
    decoding: Decoding = Decoding()
    envelope: Envelope
    gate: Gate
    owners: Owners
    deviations: tuple[Deviation, ...] = ()
    business_case: BusinessCase | None = Field(
        default=None, description="What training (play 6) would cost and win; without it, training is not considered."
    )
    mixed_precision: MixedPrecision | None = Field(
        default=None, description="How play 5 spends bytes; left out: the usual values. It needs a second attempt."
    )
    training: Training | None = Field(
        default=None, description="How play 6 trains; needed beside a business case. It needs another attempt."
    )
    rollback_rules: RollbackRules | None = Field(
        default=None, description="Play 8: when the quantized model is taken back; left out: the usual values."
    )
    imported: str | None = Field(
        default=None,
        pattern=r"^[0-9a-f]{64}$",
        description="SHA-256 of an artifact that was registered with `quantplay import`: it is judged as it is, and nothing is "
        "quantized. `envelope.types` names its type.",
    )
    updates: str | None = Field(
        default=None,
        pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
        description="Id of the locked run this plan updates with another model; data, harness, envelope and gate stay. "
        "`quantplay run --update-of` writes it.",
    )

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True, populate_by_name=True
    )

    @property
    def mixing(self) -> MixedPrecision:
        """What play 5 goes by, whether the plan says it or not."""
        return self.mixed_precision or MixedPrecision()

    def gate_digest(self) -> str:
        return digest_of(self.gate.body())
