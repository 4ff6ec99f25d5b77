"""The report: says the verdict in words, holds for every outcome and every stage, and never lets model text become markup."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from factories import DAMAGE, made_envelope, made_run

from quantplay.handoff.contents import Attempt, Question, RunResults
from quantplay.handoff.flips import MOST_SHOWN, collect_flips, visible
from quantplay.handoff.looks import cells
from quantplay.handoff.markdown import baseline_markdown
from quantplay.handoff.report import render_report
from quantplay.handoff.words import compact, drop_text, headline, number, size
from quantplay.records import FileEntry, Manifest

VOID = {"meta", "link", "br", "hr", "img", "input"}
EVIL = '</pre><script>alert(1)</script><img src=x onerror="alert(2)">{{ 7 * 7 }}\x00\u202e&amp;'


class Structure(HTMLParser):
    """Balanced tags, and every attribute seen."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open, tag
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def parsed(page: str) -> Structure:
    structure = Structure()
    structure.feed(page)
    structure.close()
    assert structure.open == []
    return structure


@pytest.fixture(scope="module")
def runs() -> dict[str, RunResults]:
    return {verdict: made_run(verdict) for verdict in DAMAGE}


@pytest.mark.parametrize(
    ("verdict", "words"),
    [("pass", "passes"), ("close", "comes close"), ("broken", "is broken"), ("inconclusive", "Too little data")],
)
def test_every_verdict_has_a_report(runs: dict[str, RunResults], verdict: str, words: str) -> None:
    run = runs[verdict]
    assert run.decision is not None
    assert run.decision.verdict == verdict
    page = render_report(run)
    text = " ".join("".join(parsed(page).text).split())
    assert words in text
    for one in run.decision.slices:
        assert number(one.drop, 1 if one.unit == "points" else 3) in text
    assert run.decision.reasons[0] in text
    assert "ada@example.com" in text


def test_nothing_is_loaded_and_nothing_runs(runs: dict[str, RunResults]) -> None:
    page = render_report(runs["broken"])
    structure = parsed(page)
    assert not structure.tags & {"script", "link", "iframe", "object", "embed", "img", "form"}
    assert not [name for name, _ in structure.attributes if name.startswith("on") or name in ("src", "href", "action")]
    assert not re.search(r"url\(|@import|https?://", page)
    assert "default-src 'none'" in page


def test_equal_results_give_equal_reports() -> None:
    small = made_run("close", items=40)
    assert render_report(small) == render_report(replace(small))
    assert render_report(small) == render_report(made_run("close", items=40))


@pytest.mark.parametrize(
    "missing",
    [
        (),
        ("decision", "attempts"),
        ("decision", "evaluation", "attempts"),
        ("decision", "evaluation", "attempts", "artifact", "recipe"),
        ("decision", "evaluation", "attempts", "artifact", "recipe", "envelope"),
        ("decision", "evaluation", "attempts", "artifact", "recipe", "envelope", "baseline", "inputs", "questions"),
    ],
)
@pytest.mark.parametrize("outcome", ["envelope_missed", "declined", "close", None])
def test_a_run_that_ended_early_has_a_report(
    runs: dict[str, RunResults], missing: tuple[str, ...], outcome: str | None
) -> None:
    empty = {name: () if name == "attempts" else {} if name == "questions" else None for name in missing}
    parsed(render_report(replace(runs["close"], outcome=outcome, **empty)))


def test_what_a_model_says_stays_text(runs: dict[str, RunResults]) -> None:
    run = runs["broken"]
    assert run.baseline is not None
    assert run.evaluation is not None
    items = tuple(item.model_copy(update={"response": EVIL}) for item in run.evaluation.candidate.items)
    arm = run.evaluation.candidate.model_copy(update={"items": items})
    owners = run.plan.owners.model_copy(update={"ml_engineer": EVIL})
    slices = {
        name: info.model_copy(update={"title": f"{info.title} {EVIL}"})
        for name, info in run.plan.evaluation.slices.items()
    }
    plan = run.plan.model_copy(
        update={
            "owners": owners, "use_case": EVIL, "trade_off": EVIL, "name": "x",
            "evaluation": run.plan.evaluation.model_copy(update={"slices": slices}),
        }
    )  # fmt: skip
    page = render_report(
        replace(
            run, plan=plan, evaluation=run.evaluation.model_copy(update={"candidate": arm}),
            questions={key: Question(prompt=EVIL, answer=EVIL) for key in run.questions},
        )
    )  # fmt: skip
    structure = parsed(page)
    assert not structure.tags & {"script", "img"}
    assert "{{ 7 * 7 }}" in "".join(structure.text)
    assert "⟨U+0000⟩⟨U+202E⟩&amp;" in "".join(structure.text)


def test_flips_are_few_lost_first_and_from_every_slice(runs: dict[str, RunResults]) -> None:
    flips = collect_flips(runs["broken"])
    assert flips is not None
    assert len(flips.shown) == MOST_SHOWN
    assert flips.lost == 186 + 96 + 48 + 30
    order = [flip.lost for flip in flips.shown]
    assert order == sorted(order, reverse=True)
    assert sum(order) < MOST_SHOWN  # some won ones are shown as well
    assert len({flip.title for flip in flips.shown if flip.lost}) == 4
    assert all(flip.prompt and flip.expected for flip in flips.shown)


def test_long_and_odd_texts_are_cut_and_shown() -> None:
    assert visible("a" * 5000).endswith("1,000 characters more)")
    assert visible("tab\tline\nbell\x07 bidi\u2066 fine ü 💡") == "tab\tline\nbell⟨U+0007⟩ bidi⟨U+2066⟩ fine ü 💡"


def test_an_envelope_missed_after_a_pass_comes_first(runs: dict[str, RunResults]) -> None:
    run = runs["pass"]
    assert run.decision is not None
    check = run.decision.envelope[0].model_copy(update={"met": False})
    decision = run.decision.model_copy(
        update={
            "envelope_met": False, "envelope": (check, *run.decision.envelope[1:]), "next_play": "next candidate",
            "reasons": (*run.decision.reasons, "Artifact size is 9 MiB; the plan allows 4."),
        }
    )  # fmt: skip
    missed = replace(run, decision=decision, outcome="envelope_missed")
    assert "misses what it had to achieve" in headline(missed).title
    page = render_report(missed)
    assert page.index("Artifact size is 9 MiB") < page.index("All 7 gated quantities")


def test_numbers_in_words() -> None:
    assert number(-0.04) == "0.0"
    assert number(-1234.56) == "−1,234.6"
    assert number(0.3, signed=True) == "+0.3"
    assert [compact(value) for value in (0, 0.00123456, 1.62, 2431.0, 1e-9)] == [
        "0",
        "0.00123",
        "1.62",
        "2,431",
        "1.0e−09",
    ]
    sizes = {512: "0.5 KiB", 1 << 20: "1.00 MiB", 3 << 30: "3.00 GiB", 25 << 20: "25.0 MiB"}
    assert {value: size(value) for value in sizes} == sizes


def test_the_chosen_candidate_is_named(runs: dict[str, RunResults]) -> None:
    assert "<b>Q4_0</b>" in render_report(replace(runs["pass"], envelope=made_envelope("Q4_0")))


def test_every_drop_has_its_unit_and_interval(runs: dict[str, RunResults]) -> None:
    decision = runs["close"].decision
    assert decision is not None
    assert drop_text(decision.slices[0]) == "6.3 points (4.5 to 8.4)"
    assert drop_text(decision.slices[-1]).startswith("0.062 nats (")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, ">Q4_K_M<"),
        ({"tensor_types": {"^output.weight$": "Q6_K"}}, ">Q4_K_M, mixed precision<"),
        ({"tensor_types": {"^output.weight$": "Q6_K"}, "trained": "a" * 64}, ">Q4_K_M, trained<"),
    ],
)
def test_a_look_at_the_gate_says_how_the_candidate_was_made(changes: dict[str, object], said: str) -> None:
    run = made_run()
    assert run.recipe is not None
    assert run.artifact is not None
    assert run.evaluation is not None
    assert run.decision is not None
    look = Attempt.of(run.artifact, run.evaluation, run.decision, run.recipe.model_copy(update=changes))
    page = render_report(replace(run, attempts=(look,)))
    assert said in page[page.index('id="attempts"') :]
    assert ("made" in look.body()) == bool(changes), "older packages keep their bytes"


def test_every_look_tells_what_it_took_beside_what_was_predicted() -> None:
    run = made_run()
    assert run.recipe is not None
    assert run.artifact is not None
    assert run.evaluation is not None
    assert run.decision is not None
    assert run.envelope is not None
    plain = Attempt.of(run.artifact, run.evaluation, run.decision)
    mixed = plain.model_copy(update={"made": "mixed precision"})
    older = plain.model_copy(update={"performance": None})
    speed = run.evaluation.performance
    first, token, memory = cells(plain, run.envelope)
    assert first.measured == f"{compact(speed.time_to_first_token_ms.p50)} ms"
    assert token.measured == f"{compact(speed.time_per_token_ms.p50)} ms"
    assert memory.measured == size(speed.peak_resident_bytes)
    assert memory.predicted.endswith(" MiB")
    assert [one.predicted for one in cells(mixed, run.envelope)] == ["", "", ""]
    assert [one.measured for one in cells(older, run.envelope)] == ["", "", ""]
    on_device = plain.model_copy(update={"performance": speed.model_copy(update={"device_bytes": 7 << 20})})
    assert cells(on_device, run.envelope)[2].measured == "7.00 MiB"
    page = parsed(render_report(replace(run, attempts=(mixed, older, plain))))
    assert f"predicted {memory.predicted}" in page.text
    assert "performance" not in older.body(), "older packages keep their bytes"


def test_a_server_is_named_with_its_flags_and_what_it_does_not_tell() -> None:
    run = made_run()
    assert run.baseline is not None
    assert run.evaluation is not None
    told = {"server": "llama-cpp-python 0.3.36", "flags": "--n_ctx 256 --seed 0"}
    served = replace(
        run,
        baseline=run.baseline.model_copy(
            update={"reference": run.baseline.reference.model_copy(update={"serving": told})}
        ),
        evaluation=run.evaluation.model_copy(
            update={"divergence": run.evaluation.divergence.model_copy(update={"measured_in": "llama.cpp"})}
        ),
    )
    page = render_report(served)
    assert f"llama-cpp-python 0.3.36, asked {run.plan.envelope.batch} at once; --n_ctx 256 --seed 0" in page
    assert "llama.cpp in process: a server does not tell whole distributions" in page
    assert "whole distributions" not in render_report(run)
    assert served.baseline is not None
    assert "llama-cpp-python 0.3.36" in baseline_markdown(served.baseline, run.plan).replace("\\", "")


@pytest.mark.parametrize(("width", "told"), [(1.0, False), (0.5, True)])
def test_a_source_narrower_than_full_precision_is_compared_too(
    runs: dict[str, RunResults], width: float, told: bool
) -> None:
    run = runs["pass"]
    assert run.inputs is not None
    assert run.artifact is not None
    assert run.evaluation is not None
    weights = round(width * run.evaluation.reference_performance.weights_bytes)
    entry = FileEntry(path="model.safetensors", size_bytes=weights, sha256="0" * 64)
    inputs = run.inputs.model_copy(update={"model": Manifest.of("model", "m", (entry,))})
    page = render_report(replace(run, inputs=inputs))
    share = abs(1 - run.artifact.size_bytes / weights)
    assert (f"{100 * share:.0f} % smaller than the source&#39;s" in page) is told
