"""The report's section on mixed precision: what was chosen, kept high and measured."""

from __future__ import annotations

import dataclasses

from factories import made_run

from quantplay.handoff.mixed_charts import kept_high, mix_charts, mix_sentence
from quantplay.handoff.report import render_report
from quantplay.records import DamageFit, GroupOptions, MeasuredMix, MixChoice, TypeOption

SIZES = {"Q6_K": 820, "Q4_K": 560, "Q3_K": 430}
DAMAGES = {"Q6_K": 0.001, "Q4_K": 0.01, "Q3_K": 0.1}


def made_choice(types: dict[str, str], measured: tuple[MeasuredMix, ...], name: str = "mix 1.1") -> MixChoice:
    """Groups that double in damage one after the other."""
    groups = tuple(
        GroupOptions(
            group=group, tensors={kind: {f"{group}.weight": kind} for kind in SIZES}, gain_nats=None, base="Q3_K",
            types=tuple(
                TypeOption(kind=kind, stored_bytes=1024 * size, damage_nats=2**number * DAMAGES[kind], measured=True)
                for kind, size in SIZES.items()
            ),
        )
        for number, group in enumerate(types)
    )  # fmt: skip
    return MixChoice(
        sensitivity="1" * 64, reference="2" * 64, importance=None, short="3" * 64, short_type="Q3_K_S", budget_bytes=2_000_000,
        other_bytes=9_000, groups=groups, measured=measured, text="4" * 64, text_tokens=100, name=name, origin="mix",
        type="Q4_K_M", types=types, size_bytes=1_900_000, predicted_nats=0.02, mean_kl_nats=0.02, seconds=1.0,
        peak_resident_bytes=1,
        fit=DamageFit(scale=1, optimism=1, turn_nats=1, curve=0, weight=0, groups=dict.fromkeys(types, 1.0), types={}, error=None),
    )  # fmt: skip


def measured(name: str, origin: str, size: int, nats: float) -> MeasuredMix:
    return MeasuredMix.model_validate(
        {"name": name, "origin": origin, "groups": {}, "size_bytes": size, "predicted_nats": None, "mean_kl_nats": nats,
         "mean_kl_se": nats / 10, "round": 0}
    )  # fmt: skip


SEEN = (
    measured("mix 1.1", "mix", 1_900_000, 0.02), measured("uniform Q3_K", "uniform", 1_800_000, 0.05),
    measured("llama.cpp Q3_K_S", "llama.cpp", 1_850_000, 0.04), measured("llama.cpp Q8_0", "llama.cpp", 4_000_000, 0.001),
)  # fmt: skip
TYPES = {"embedding": "Q3_K", "blk.0.qkv": "Q4_K", "blk.0.down": "Q6_K", "blk.1.qkv": "Q3_K", "blk.1.down": "Q3_K"}


def test_what_was_kept_high_and_what_it_cost() -> None:
    first, second = kept_high(made_choice(TYPES, SEEN))
    assert (first.group, first.kind, first.extra_bytes) == ("blk.0.down", "Q6_K", 1024 * (820 - 430))
    assert (second.group, second.kind, second.extra_bytes) == ("blk.0.qkv", "Q4_K", 1024 * (560 - 430))
    assert first.avoided_nats == 4 * (0.1 - 0.001)


def test_the_sentence_names_the_best_other_file_within_the_budget() -> None:
    said = mix_sentence(made_choice(TYPES, SEEN))
    assert "50 % less" in said
    assert "llama.cpp Q3_K_S" in said
    assert "No mix of our own" in mix_sentence(made_choice({}, SEEN, name="llama.cpp Q3_K_S"))
    assert mix_sentence(made_choice(TYPES, SEEN, name="mix of 5 bytes")).endswith("MiB.")  # solved again, not measured


def test_the_report_shows_the_mix_and_every_measured_file_has_a_dot() -> None:
    choice = made_choice(TYPES, SEEN)
    page = render_report(dataclasses.replace(made_run("pass"), mix=choice))
    assert 'id="mix"' in page
    assert "blk.0.down" in page
    assert 'id="mix"' not in render_report(made_run("pass"))
    frontier, groups = mix_charts(choice)
    assert str(frontier.html()).count("<circle") == len(SEEN)
    assert len(groups.rows) == len(TYPES)
    assert "nan" not in frontier.image().lower()


def test_llama_cpps_own_mix_and_damage_of_zero_are_drawn() -> None:
    same = tuple(measured(name, "llama.cpp", 1_000_000, 0.0) for name in ("llama.cpp Q8_0", "llama.cpp Q6_K"))
    (frontier,) = mix_charts(made_choice({}, same, name="llama.cpp Q8_0"))
    assert "nan" not in str(frontier.html()).lower()
    assert mix_charts(None) == []
