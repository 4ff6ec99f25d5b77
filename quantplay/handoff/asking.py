"""What a person sees whose signature is asked for: what there is to decide, the numbers, and how to sign, as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from quantplay.handoff.markdown import gate_markdown
from quantplay.handoff.templating import md
from quantplay.plan import Plan
from quantplay.records import Decision, PackageRef, Role, SignOff
from quantplay.signoff import Standing, Void, parse, sign_command
from quantplay.signoff.paste import shell_command
from quantplay.signoff.text import Stage
from quantplay.store.signoffs import Awaiting

QUESTIONS: dict[Stage, str] = {
    "gate": "Is the quantized model good enough for its purpose? The gate below was frozen before any result. With both approvals "
    "the package is written.",
    "training": "Is it worth training the quantized model (play 6)? After-training quantization was not enough, as the gate below "
    "says. The business case of the plan:",
    "lock": "Is this package what the team hands on? It holds the decision below, its report, and how to make the same bytes again.",
}
PEOPLE: dict[Role, str] = {
    "ml_engineer": "the ML engineer", "product_owner": "the product owner", "engineering_manager": "the engineering manager",
    "on_call": "who is on call",
}  # fmt: skip
ELSEWHERE = "### Without quantplay, on your own computer"


@dataclass(frozen=True, kw_only=True)
class Asking:
    """All that is shown while a run waits."""

    waits: Awaiting
    plan: Plan
    decision: Decision
    standing: Standing
    expires_at: str
    texts: Mapping[str, str] = field(default_factory=dict)  # label in the form -> exact text to sign
    elsewhere: Sequence[SignOff] = ()  # about the same decision, under other runs
    refused: Sequence[str] = ()  # what was wrong with what was given last
    report: str | None = None  # path of the page
    plots: Mapping[str, str] = field(default_factory=dict)  # title -> address of the image
    package: PackageRef | None = None
    business_case: str = ""  # its arithmetic, Markdown


def asking_markdown(ask: Asking) -> str:
    """Everything, for one page: the question, the numbers, who signed, and how the rest sign."""
    missing = " and ".join(PEOPLE[role] for role in ask.standing.missing) or "nobody"
    parts = [f"## {md(ask.plan.name)} waits for {missing}"]
    if ask.refused:
        parts.append(
            "**What was given last was not accepted:**\n\n" + "\n".join(f"- ⚠️ {md(one)}" for one in ask.refused)
        )
    parts.append(f"**{QUESTIONS[ask.waits.stage]}**")
    parts += [ask.business_case] if ask.business_case else []
    parts += [gate_markdown(ask.decision, ask.plan)]
    parts += list(places(ask))
    parts += list(signed(ask))
    parts += list(how_to(ask))
    return "\n\n".join(parts) + "\n"


def places(ask: Asking) -> Iterator[str]:
    """Where to read on."""
    if ask.plots:
        yield "Plots: " + ", ".join(f"[{md(title)}]({address})" for title, address in ask.plots.items())
    if ask.report is not None:
        yield f"Report: `{ask.report}`"
    if ask.waits.stage == "lock" and ask.package is not None:
        yield f"Package: `{ask.package.path}`, SHA-256 of its manifest `{ask.package.manifest}`"


def signed(ask: Asking) -> Iterator[str]:
    """Who said what so far."""
    lines = [f"- {md(line)}" for line in said(ask.standing.counted)]
    lines += [f"- does not count: {md(line)}" for line in said_in_vain(ask.standing.void)]
    yield "### Signed so far\n\n" + ("\n".join(lines) or "Nobody yet.")
    if ask.elsewhere:
        yield "About the same decision, under other runs:\n\n" + "\n".join(
            f"- {md(one)}" for one in said(ask.elsewhere)
        )


def how_to(ask: Asking) -> Iterator[str]:
    """The command for each missing signature, and the texts for who has no quantplay."""
    if not ask.standing.missing:
        return
    commands = "\n".join(sign_command(ask.waits.run, role) for role in ask.standing.missing)
    yield (
        f"### With quantplay\n\n```sh\nquantplay show {ask.waits.run[:8]}\n{commands}\n```\n\n"
        "`--reject` and `--rework` say no and end the run; `--comment TEXT` says why, and is signed too. The run goes on by itself."
    )
    if ask.texts:
        yield (
            f"{ELSEWHERE}\n\nNothing but OpenSSH is needed. Find your name and what you want to say, run the command in a terminal, "
            "and paste what it prints into the form behind **Resume** of this flow run, where you choose the same line. Each text is "
            f"good once, until {ask.expires_at}."
        )
        approvals = {label: text for label, text in ask.texts.items() if label.startswith("approve")}
        yield from prepared(approvals)
        if refusals := {label: text for label, text in ask.texts.items() if label not in approvals}:
            yield "### To say no"
            yield from prepared(refusals)
    yield f"The request stands until {ask.expires_at}. After that `quantplay run` or `quantplay sign` asks again; nothing is measured again."


def prepared(texts: Mapping[str, str]) -> Iterator[str]:
    for label, text in texts.items():
        nonce = parse(text.encode()).nonce
        yield f"**{md(label)}** (nonce `{nonce[:8]}…`)\n\n```sh\n{shell_command(text.encode())}\n```"


def training_said(signoffs: Sequence[SignOff]) -> str | None:
    """What the signature under the business case leads to; None where there is none, or it said no."""
    last = next((one for one in reversed(signoffs) if one.stage == "training"), None)
    if last is None or last.verdict != "approve":
        return None
    return f"Training (play 6), approved by {last.person}, was not enough"


def said(signoffs: Sequence[SignOff]) -> list[str]:
    return [
        f"{one.verdict} by {one.person} as {one.role}, {one.recorded_at}" + (f": {one.comment}" if one.comment else "")
        for one in signoffs
    ]


def said_in_vain(void: Sequence[Void]) -> list[str]:
    return [f"{line}; {one.why}" for one, line in zip(void, said([one.signoff for one in void]), strict=True)]
