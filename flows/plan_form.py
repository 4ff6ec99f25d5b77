"""The plan as a form: what a person fills in to start a run from the browser, field by field.

Types, ranges and choices are the plan's own (quantplay/plan.py), so that the server refuses what the plan would. Titles and
descriptions are for people who have not read the documentation.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from flows.form_fields import ON_THE_WORKER, Group
from quantplay.address import BUCKET, STORES
from quantplay.formats import types_of
from quantplay.plan import WAIVABLE, Profile

FULL_BITS = 32
SERVING_TYPES = tuple(name for name, kind in types_of("llama.cpp").items() if kind.nominal_bits < FULL_BITS)
Above0 = Annotated[float, Field(gt=0)]
FromZero = Annotated[float, Field(ge=0)]
Points = Annotated[float, Field(gt=0, le=100)]
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class Data(Group):
    """The model and the data."""

    folder: str = Field(
        pattern=rf"^({ON_THE_WORKER}.+|({'|'.join(STORES)})://{BUCKET}(/[^?]*)?)$",
        title="Folder",
        description="Where model and data lie: a folder every worker can read, such as /data/support, or an address such as "
        "s3://bucket/support. The names below start there.",
    )
    model: Text = Field(
        default="model",
        title="Model",
        description="Folder of the full-precision model (config.json, tokenizer, *.safetensors), or an id on the Hugging Face hub "
        "such as org/name together with its commit.",
    )
    model_commit: str | None = Field(
        default=None,
        pattern=r"^([0-9a-f]{40})?$",
        title="Commit of the model on the hub",
        description="40 hexadecimal digits. Leave empty for a folder.",
    )
    gate_file: Text = Field(
        default="gate.jsonl",
        title="Questions that decide",
        description="JSONL file with id, slice, prompt, answer and scorer. Looked at once an attempt.",
    )
    dev_file: Text = Field(
        default="dev.jsonl",
        title="Questions to try things on",
        description="The same kind of file; shares no document with the one that decides.",
    )
    calibration_file: Text = Field(
        default="calibration.jsonl",
        title="Calibration texts",
        description="JSONL file with id and text: 128 to 512 texts of your own domain that steer the quantizer, none of them in the "
        "questions above.",
    )
    heldout_file: Text = Field(
        default="heldout.jsonl",
        title="Other texts",
        description="JSONL file with id and text, for perplexity and divergence. They raise alarms and never decide.",
    )


class Skill(Group):
    """One skill of the model, and how much of it may be lost."""

    name: Text = Field(
        title="Kind of question", description="Exactly as it stands under slice in the file of questions."
    )
    title: Text = Field(
        title="What it shows", description="In words everybody understands, for example: Adds up the items of an order."
    )
    max_drop_points: Points = Field(
        default=4.0,
        title="Passes up to a loss of, percentage points",
        description="4 means: of 100 questions answered right before, at most 4 fewer are right afterwards, and we are sure of it.",
    )
    broken_drop_points: Points = Field(
        default=8.0,
        title="Broken above a loss of, percentage points",
        description="Must be larger than the number above; twice that number is usual. What lies between is called close.",
    )
    fragile: bool = Field(default=True, title="Fragile", description="Known to break first under quantization.")


class Target(Group):
    """Where it will run."""

    bottleneck: Literal["memory", "latency", "throughput", "cost", "storage"] = Field(
        default="memory", title="What is to be won", description="Afterwards it is checked that this very win is there."
    )
    target_chip: str | None = Field(
        default=None,
        title="Chip it will be served on",
        description="Its name as the command quantplay doctor prints it, * stands for anything; or: this machine, which means the worker that measures. "
        "Needed for production: speed on another chip says nothing.",
    )
    context_tokens: int = Field(
        default=512, ge=16, le=1_048_576, title="Context, tokens", description="Prompt and answer together, at most."
    )
    sequences_at_once: int = Field(
        default=1, ge=1, le=1024, title="Requests at the same time", description="How many are answered in parallel."
    )
    serving_types: tuple[Literal[SERVING_TYPES], ...] = Field(  # type: ignore[valid-type]
        default=(),
        title="Serving types to try",
        description="Best first. Leave empty for quantplay's own order of 4-bit types. Q8_0 has 8 bits a weight, Q4_K_M about 4.5, "
        "Q2_K about 2.6.",
    )
    max_artifact_mib: Above0 | None = Field(
        default=None, title="Largest file, MiB", description="Leave empty for no limit."
    )
    memory_mib: Above0 | None = Field(
        default=None, title="Memory there is, MiB", description="For weights, cache and activations. Empty: no limit."
    )
    max_time_to_first_token_ms: Above0 | None = Field(
        default=None,
        title="Longest wait for the first token, ms",
        description="At the 95th percentile. Leave empty for no limit.",
    )
    min_tokens_per_second: Above0 | None = Field(
        default=None,
        title="Slowest generation, tokens a second",
        description="All requests together. Leave empty for no limit.",
    )
    max_slowdown: Above0 | None = Field(
        default=None,
        title="Slowest against full precision, times",
        description="1.2 means: a token may take 20 % longer than before. Leave empty for no limit.",
    )


class People(Group):
    """Who answers for it."""

    ml_engineer: Text = Field(
        title="ML engineer", description="Name or e-mail address. Signs that the numbers are right."
    )
    product_owner: Text = Field(
        title="Product owner", description="Name or e-mail address. Signs that the loss is acceptable."
    )
    engineering_manager: str | None = Field(
        default=None, title="Engineering manager", description="Signs the cost of training, should it come to that."
    )
    on_call: str | None = Field(
        default=None, title="On call", description="Who is called when the model in service misbehaves."
    )


class Waiver(Group):
    """A defect that is accepted, and why."""

    rule: Literal[tuple(WAIVABLE)] = Field(title="Rule", description="What is accepted.")  # type: ignore[valid-type]
    reason: Annotated[str, Field(min_length=8)] = Field(
        title="Reason", description="Stands in the report and in the package."
    )


class Training(Group):
    """What training would cost and win; nothing filled in: it is not considered."""

    currency: str = Field(
        default="USD", pattern=r"^[A-Z]{3}$", title="Currency", description="Of every amount here, three letters."
    )
    training_cost: FromZero | None = Field(
        default=None, title="Cost of training, in all", description="Machines and people, in this currency."
    )
    requests_per_day: Above0 | None = Field(
        default=None, title="Requests a day", description="How many the model answers."
    )
    tokens_per_request: Above0 | None = Field(
        default=None, title="Tokens a request", description="Prompt and answer together."
    )
    serving_cost_per_million_tokens: FromZero | None = Field(
        default=None, title="Cost of serving, a million tokens", description="At full precision, in this currency."
    )
    serving_saving_percent: Annotated[float, Field(ge=0, le=100)] | None = Field(
        default=None, title="Share of that cost saved, percent", description="By the quantized model. Empty: 0."
    )
    worth_per_gib_month: FromZero | None = Field(
        default=None, title="Worth of one GiB of freed memory, a month", description="In this currency. Empty: 0."
    )
    worth_per_point_month: FromZero | None = Field(
        default=None,
        title="Worth of one percentage point of quality, a month",
        description="In this currency. Empty: 0.",
    )
    months: Annotated[float, Field(gt=0, le=120)] | None = Field(
        default=None, title="Months in service", description="How long the model will serve, in months of 30 days."
    )


class HowToTrain(Group):
    """How it would be trained; nothing filled in: it is not."""

    file: Text | None = Field(
        default=None,
        title="Texts to train on",
        description="JSONL file with id and text, none of them holding a question. Needed where the group above is filled in.",
    )
    steps: Annotated[int, Field(ge=1, le=10_000_000)] | None = Field(
        default=None, title="Updates of the weights, at most", description="Empty: 600."
    )
    learning_rate: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=None,
        title="Learning rate at its highest",
        description="Falls to zero along a cosine. Empty: 0.0001.",
    )
    rows: Annotated[int, Field(ge=1, le=65_536)] | None = Field(
        default=None, title="Sequences behind one update", description="Empty: 24."
    )
    row_tokens: Annotated[int, Field(ge=16, le=1_048_576)] | None = Field(
        default=None, title="Tokens of one sequence", description="Empty: 256."
    )
    checkpoint_every: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        default=None,
        title="Updates between two looks at the questions to try things on",
        description="Empty: 25.",
    )
    patience: Annotated[int, Field(ge=1, le=1000)] | None = Field(
        default=None, title="Looks without a gain after which it stops early", description="Empty: 6."
    )
    seed: Annotated[int, Field(ge=0, lt=2**32)] | None = Field(
        default=None, title="Seed of the order of the texts", description="Empty: 0."
    )


class Mixing(Group):
    """How bytes are spent where the first candidate comes close; nothing filled in: the usual way."""

    max_artifact_mib: Above0 | None = Field(
        default=None, title="Largest file, MiB", description="Empty: as much larger as the next line says."
    )
    growth_percent: Annotated[float, Field(ge=0, le=400)] | None = Field(
        default=None,
        title="How much larger than the file that came short, percent",
        description="Never larger than the largest file above. Empty: 25.",
    )
    types: tuple[Text, ...] = Field(
        default=(),
        title="Types a group of tensors may take",
        description="ggml types such as Q4_K and Q6_K. Leave empty for a ladder around the type that came short.",
    )
    sequences: Annotated[int, Field(ge=4, le=4096)] | None = Field(
        default=None, title="Calibration texts to measure over", description="Empty: 32."
    )
    tokens: Annotated[int, Field(ge=16, le=1_048_576)] | None = Field(
        default=None, title="Longest of them, tokens", description="The rest is cut off. Empty: 256."
    )


class More(Group):
    """Everything else, with its usual values."""

    trade_off: str = Field(
        default="", title="The trade-off in words", description="What is given up for what; first page of the package."
    )
    use_case_class: str | None = Field(
        default=None,
        pattern=r"^([a-z0-9][a-z0-9_-]{0,62})?$",
        title="Kind of use",
        description="A use case of the organisation's standards. Empty: default.",
    )
    waivers: tuple[Waiver, ...] = Field(
        default=(), title="Accepted defects", description="Only where a check refused something and you accept it."
    )
    calibration_samples: int = Field(
        default=256,
        ge=1,
        le=100_000,
        title="Calibration texts to use",
        description="From the top; 128 to 512 are usual.",
    )
    calibration_tokens: int = Field(
        default=512, ge=16, le=1_048_576, title="Longest calibration text, tokens", description="The rest is cut off."
    )
    traffic_file: str | None = Field(
        default=None,
        title="Sample of traffic",
        description="JSONL file with id and text: what the model is really asked. The calibration texts are compared with it.",
    )
    task_files: tuple[Text, ...] = Field(
        default=(),
        title="Your own lm-eval tasks",
        description="YAML files. Tasks that run Python code need a plan file, where somebody reviews that.",
    )
    answer_tokens: int = Field(
        default=64, ge=1, le=65_536, title="Longest answer, tokens", description="Greedy decoding."
    )
    answer_ends: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        default=("\\n",),
        title="An answer ends at",
        description="The first of these texts. Write \\n for the end of a line.",
    )
    attempts: int = Field(
        default=1,
        ge=1,
        le=20,
        title="Attempts",
        description="How many candidates may be put to the questions that decide: 2 leave room for mixed precision after one that comes "
        "close, 3 for training as well. More attempts ask for more questions.",
    )
    expected_flip_rate: float = Field(
        default=0.05,
        gt=0,
        le=1,
        title="Answers that change anyway, share",
        description="0.05 means: a lossless candidate is expected to answer 5 % of the questions differently.",
    )
    hardest_share: float = Field(
        default=0.1, gt=0, le=0.5, title="Hardest questions, share", description="0.1 means: the hardest tenth of all."
    )
    hardest_max_drop_points: Points = Field(
        default=9.0, title="Hardest questions: pass up to a loss of, percentage points", description="As for a skill."
    )
    hardest_broken_drop_points: Points = Field(
        default=18.0,
        title="Hardest questions: broken above a loss of, percentage points",
        description="As for a skill.",
    )
    hardest_max_loss_rise_nats: Above0 = Field(
        default=0.1,
        title="Hardest questions: pass up to a rise of the loss of, nats a token",
        description="Mean loss of the expected answer.",
    )
    hardest_broken_loss_rise_nats: Above0 = Field(
        default=0.2,
        title="Hardest questions: broken above a rise of the loss of, nats a token",
        description="Larger than the above.",
    )
    alarm_mean_kl_nats: Above0 = Field(
        default=0.1, title="Alarm: mean divergence above, nats", description="Alarms are shown and never decide."
    )
    alarm_top1_agreement: float = Field(
        default=0.9, gt=0, le=1, title="Alarm: same next token less often than, share", description="0.9 means 90 %."
    )
    alarm_perplexity_ratio: Above0 = Field(
        default=1.05, title="Alarm: perplexity above, times full precision", description="1.05 means 5 % higher."
    )
    baseline_days: Annotated[int, Field(ge=1, le=3650)] | None = Field(
        default=None, title="A baseline is valid for, days", description="Then it is measured again. Empty: 90."
    )
    seed: int = Field(default=0, ge=0, lt=2**32, title="Seed", description="Of everything random; recorded.")


class PlanForm(Group):
    """The whole form. The flow's parameters are these fields, see quantize_form.py."""

    name: str = Field(
        pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$",
        title="Name",
        description="A short name in small letters, digits, - and _, for example support-4bit.",
    )
    use_case: Text = Field(
        title="What the model does", description="One sentence; it stands on the first page of the report."
    )
    profile: Profile = Field(
        default="internal",
        title="How much is at stake",
        description="production: people sign before anything is released. internal: low stakes, nobody signs. explore: only to look "
        "around, never ends in a package.",
    )
    data: Data = Field(title="Model and data", description="Where they lie. A run pins every file by its digest.")
    skills: tuple[Skill, ...] = Field(
        min_length=1,
        title="What must not get worse",
        description="One entry for each kind of question (slice) in the file that decides. This is the gate: it is frozen before "
        "anything is measured.",
    )
    people: People = Field(
        title="Who answers for it", description="They are asked to sign where the profile is production."
    )
    target: Target = Field(
        default=Target(), title="Where it will run", description="What it runs on and what it must achieve there."
    )
    training: Training = Field(
        default=Training(),
        title="Should it need training",
        description="Leave empty unless you would pay for training a model that comes out short. Then the engineering manager is "
        "asked to sign these numbers first.",
    )
    how_to_train: HowToTrain = Field(
        default=HowToTrain(),
        title="How it would be trained",
        description="Leave empty unless the group above is filled in.",
    )
    mixing: Mixing = Field(
        default=Mixing(),
        title="Should it come close",
        description="Then more bits go where they are missed most (mixed precision), if a second attempt is allowed below. Leave empty "
        "for the usual way.",
    )
    more: More = Field(
        default=More(), title="Everything else", description="Usual values; leave them as they are the first time."
    )
