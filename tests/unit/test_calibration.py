"""Ten calibration sets without a fault and ten seeded faults, each over several kinds of text."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from random import Random

import pytest
from calibration_sets import KINDS, TOKENS, items, texts

from quantplay.calibration import Against, check_calibration, waivers_of
from quantplay.evalset import TextSample
from quantplay.plan import WAIVABLE, Deviation
from quantplay.records import CalibrationCheck

DIGEST = "0" * 64


@dataclass(frozen=True)
class World:
    """A calibration set and all it is compared with, of one kind of text and without a fault."""

    samples: tuple[TextSample, ...]
    against: Against

    def check(self, deviations: tuple[Deviation, ...] = ()) -> CalibrationCheck:
        return check_calibration(self.samples, self.against, calibration=DIGEST, tokens=TOKENS, deviations=deviations)

    def with_text(self, index: int, text: str) -> World:
        samples = list(self.samples)
        samples[index] = replace(samples[index], text=text)
        return replace(self, samples=tuple(samples))


@cache
def world(kind: str) -> World:
    taken: set[str] = set()
    samples = texts(kind, "sample", 140, taken)
    against = Against(
        evaluation={"gate": items(texts(kind, "gate", 200, taken)), "dev": items(texts(kind, "dev", 60, taken))},
        heldout=texts(kind, "text", 40, taken),
        traffic=texts(kind, "live", 200, taken),
    )
    return World(samples=samples, against=against)


def found(check: CalibrationCheck) -> dict[str, set[str]]:
    """Rule -> samples it names."""
    rules: dict[str, set[str]] = {}
    for finding in check.findings:
        rules.setdefault(finding.rule.removeprefix("calibration."), set()).update(finding.samples)
    return rules


@pytest.mark.parametrize("kind", KINDS)
def test_a_clean_set_of_any_kind_has_no_finding(kind: str) -> None:
    check = world(kind).check()
    assert check.findings == ()
    assert check.samples == 140
    assert check.figures["traffic_texts"] == 200


@pytest.mark.parametrize("kind", ["prose", "code", "chinese"])
def test_the_same_set_gives_the_same_check(kind: str) -> None:
    assert world(kind).check().digest() == world(kind).check().digest()


def one_word_changed(text: str) -> str:
    words = text.split(" ")
    words[len(words) // 2] = "otherwise"
    return " ".join(words)


SPOKEN = ("support", "prose", "chat", "code", "json", "german", "docstrings")


@pytest.mark.parametrize("kind", KINDS)
def test_too_few_samples(kind: str) -> None:
    good = world(kind)
    assert found(replace(good, samples=good.samples[:96]).check()) == {"count": set()}


def test_too_many_samples() -> None:
    many = texts("prose", "many", 600, set())
    assert found(World(samples=many, against=Against()).check()) == {"count": set()}


@pytest.mark.parametrize("kind", KINDS)
def test_an_exact_copy_in_other_letters_and_spaces(kind: str) -> None:
    good = world(kind)
    seeded = good.with_text(77, "  " + good.samples[3].text.upper().replace(" ", "  "))
    assert found(seeded.check()) == {"duplicates": {"sample-077"}}


@pytest.mark.parametrize("kind", SPOKEN)
def test_a_copy_with_one_word_changed(kind: str) -> None:
    good = world(kind)
    longest = max(range(140), key=lambda index: len(good.samples[index].text.split()))
    where = 139 if longest != 139 else 138
    seeded = good.with_text(where, one_word_changed(good.samples[longest].text))
    assert found(seeded.check()) == {"near_duplicates": {good.samples[max(where, longest)].id}}


@pytest.mark.parametrize("kind", KINDS)
def test_a_giant_document(kind: str) -> None:
    dice = Random(5)
    long = "\n".join(KINDS[kind](dice) + f" chapter {number}" for number in range(1200))
    rules = found(world(kind).with_text(9, long).check())
    assert rules["giant_documents"] == {"sample-009"}
    assert rules.keys() <= {"giant_documents", "overlap"}  # a real library has only so many texts


@pytest.mark.parametrize("kind", ["prose", "support", "chat", "german"])
def test_samples_of_one_length(kind: str) -> None:
    good = world(kind)
    words = " ".join(sample.text for sample in good.samples).split()
    cut = tuple(
        replace(sample, text=" ".join(words[25 * number : 25 * number + 25]))
        for number, sample in enumerate(good.samples)
    )
    check = replace(good, samples=cut, against=Against()).check()
    assert found(check).keys() == {"length_variety"}
    assert check.figures["length_ratio_p90_p10"] == 1


@pytest.mark.parametrize("kind", ["prose", "code", "json", "chinese"])
def test_most_samples_of_one_kind(kind: str) -> None:
    good, dice = world(kind), Random(8)
    seeded = set[str]()
    for index in range(0, 140, 2):
        name, day, room = dice.randint(1, 999), dice.choice(["monday", "friday", "sunday"]), dice.choice("abcdefgh")
        text = (
            f"dear guest {name} your booking for {day} is confirmed please be at room {room} before noon "
            * dice.randint(1, 4)
        )
        good = good.with_text(
            index, text + f"our reference is {dice.randint(1, 10**9)} of list {name}{room} " * dice.randint(1, 3)
        )
        seeded.add(f"sample-{index:03d}")
    for index in range(1, 9, 2):  # 74 of 140
        good = good.with_text(
            index,
            f"dear guest {index} your booking for monday is confirmed please be at room {index}{index} before noon",
        )
        seeded.add(f"sample-{index:03d}")
    rules = found(replace(good, against=Against()).check())
    assert "topic_variety" in rules
    assert rules["topic_variety"] <= seeded


@pytest.mark.parametrize("split", ["gate", "dev"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_question_of_the_evaluation_set(kind: str, split: str) -> None:
    good = world(kind)
    prompt = good.against.evaluation[split][11].prompt
    seeded = good.with_text(50, f"{good.samples[50].text}\n{prompt}\nanswer: yes")
    assert found(seeded.check()) == {"overlap": {"sample-050"}}


@pytest.mark.parametrize("kind", SPOKEN)
def test_a_held_out_text_with_a_word_changed(kind: str) -> None:
    good = world(kind)
    longest = max(good.against.heldout, key=lambda one: len(one.text))
    seeded = good.with_text(20, one_word_changed(longest.text))
    assert found(seeded.check()) == {"overlap": {"sample-020"}}


def test_a_piece_of_a_long_question() -> None:
    good = world("prose")
    page = " ".join(sample.text for sample in texts("prose", "page", 8, set()))
    gate = (replace(items(good.samples)[0], id="page", document="page", prompt=page), *good.against.evaluation["gate"])
    piece = " ".join(page.split()[100:160])
    seeded = replace(good, against=replace(good.against, evaluation={"gate": gate})).with_text(20, piece)
    assert found(seeded.check()) == {"overlap": {"sample-020"}}


@pytest.mark.parametrize(
    ("kind", "other"), [("prose", "german"), ("json", "code"), ("support", "sql"), ("chinese", "chat")]
)
def test_samples_of_another_domain_than_the_traffic(kind: str, other: str) -> None:
    good = world(kind)
    strange = {
        f"sample-{index:03d}": sample.text for index, sample in enumerate(world(other).samples) if index % 5 == 0
    }
    for name, text in strange.items():
        good = good.with_text(int(name.removeprefix("sample-")), text)
    rules = found(good.check())
    assert rules.keys() == {"domain"}
    assert rules["domain"] <= strange.keys()


def test_a_waiver_keeps_the_finding_and_carries_its_reason() -> None:
    good = world("prose")
    reason = "A trial with little data."
    check = replace(good, samples=good.samples[:96]).check((Deviation(rule="calibration.count", reason=reason),))
    assert check.open == ()
    assert [finding.waiver for finding in check.findings] == [reason]
    (waiver,) = waivers_of(check)
    assert (waiver.rule, waiver.reason, waiver.what) == ("calibration.count", reason, check.findings[0].what)


def test_a_waiver_of_one_rule_leaves_the_others_open() -> None:
    good = world("prose")
    seeded = replace(
        good.with_text(40, good.samples[3].text), samples=good.with_text(40, good.samples[3].text).samples[:96]
    )
    check = seeded.check((Deviation(rule="calibration.count", reason="A trial with little data."),))
    assert [finding.rule for finding in check.open] == ["calibration.duplicates"]


def test_every_rule_can_be_waived_and_mended() -> None:
    from quantplay.plays.calibration import MEND

    assert set(MEND) == {rule for rule in WAIVABLE if rule.startswith("calibration.")}


@pytest.mark.parametrize("count", [0, 1, 2])
def test_hardly_any_samples_are_a_finding_and_no_crash(count: int) -> None:
    good = world("prose")
    assert "count" in found(replace(good, samples=good.samples[:count]).check())
