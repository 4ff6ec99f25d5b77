"""Ask people for their signatures where the run waits: texts prepared for each of them, and one page that shows it all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.input import read_flow_run_input
from prefect.runtime import flow_run

from quantplay.errors import InputError
from quantplay.handoff.asking import Asking, asking_markdown
from quantplay.handoff.markdown import business_case_markdown
from quantplay.handoff.signing import reasons_of, record_signature, standing_of, stands_now, statement_for
from quantplay.plays.business_case import measured
from quantplay.records import Decision, Role
from quantplay.signoff import Owners, Standing, Statement, parse, render
from quantplay.signoff.paste import label_of, rewrapped
from quantplay.signoff.text import TIME, SignVerdict, moment
from quantplay.store.requests import ANSWERED, REQUESTED, Request, Waiting
from quantplay.store.signoffs import Awaiting
from tasks.options import PLAY
from tasks.progress import announce
from tasks.signoffs import owners_of_settings
from tasks.workbench import RunRef, workbench

VERDICTS: tuple[SignVerdict, ...] = ("approve", "reject", "rework")
LEFT_AT_LEAST = timedelta(hours=1)  # of a text that is shown once more
NOTHING = "nothing here: go on with what was signed elsewhere"


@task(name="ask", **PLAY)
def request_signatures(run: RunRef, plots: Mapping[str, str], *, form: bool) -> tuple[Request, str] | None:
    """Show what is to be signed, as an artifact; with `form` also prepare the texts that a form of this flow run offers.

    Returns the request with the page as Markdown; None where every signature is there by now.
    """
    store, flow_run_id = workbench().store, str(flow_run.get_id())
    waiting = store.waiting(run.id)
    assert waiting is not None
    waits, owners = waiting.waits, owners_if_any()
    now = stands_now(store, waits, owners) if owners is not None else standing_of(waits, ())
    if now.state != "awaiting":
        return None
    before = store.requests_of(run.id)
    expires = expiry_of(waiting)
    texts = dict(prepared(waits, now, owners, before, expires)) if form and owners is not None else {}
    mine = sum(one.flow_run == flow_run_id for one in before)
    body = {
        "flow_run": flow_run_id, "key": f"{waits.stage}-{mine + 1}", "stage": waits.stage, "decision": waits.decision,
        "expires_at": expires.strftime(TIME), "texts": texts, "page": flow_run.get_flow_run_ui_url(),
    }  # fmt: skip
    if form:
        store.append_event("quantplay", REQUESTED, run.run, body)
    request = Request(at=datetime.now(UTC), run=run.run, **body)
    page = shown(run, waiting, now, request, plots)
    create_markdown_artifact(
        page, key="sign-offs", description=f"What is to be decided and signed, stage {waits.stage}"
    )
    return request, page


def owners_if_any() -> Owners | None:
    """The owners file; None where it can't be used, which the page says too."""
    try:
        return owners_of_settings()
    except InputError as error:
        announce("sign-offs", str(error).splitlines()[0])
        return None


def expiry_of(waiting: Waiting) -> datetime:
    """When a request that nobody answers ends."""
    return waiting.asked_at.astimezone(UTC) + timedelta(days=workbench().settings.sign_off_days)


def prepared(
    waits: Awaiting, now: Standing, owners: Owners, before: Sequence[Request], expires: datetime
) -> Iterator[tuple[str, str]]:
    """(label, text) of every statement that can still be signed; a text shown before and still good stays the same."""
    known = still_good(waits, before)
    left = max(expires - datetime.now(UTC), LEFT_AT_LEAST)
    for verdict in VERDICTS:
        for role in now.missing:
            for person in owners.with_role(role):
                statement = known.get((verdict, role, person.name)) or statement_for(
                    waits, role, verdict, person.name, valid=left
                )
                yield label_of(statement), render(statement).decode()


def still_good(waits: Awaiting, before: Sequence[Request]) -> Mapping[tuple[str, Role, str], Statement]:
    """Statements prepared earlier for the very same question, so that who signed one already need not do so again."""
    used = {one.nonce for one in workbench().store.signoffs_of(waits.run)}
    soon = datetime.now(UTC) + LEFT_AT_LEAST
    subject = ("run", "stage", "gate", "decision", "manifest", "business_case", "gate_changes")
    found = {}
    for text in (text for request in before for text in request.texts.values()):
        one = parse(text.encode())
        same = all(getattr(one, name) == getattr(waits, name) for name in subject)
        if same and one.nonce not in used and moment(one.expires_at) > soon:
            found[one.verdict, one.role, one.person] = one
    return found


def shown(run: RunRef, waiting: Waiting, now: Standing, request: Request, plots: Mapping[str, str]) -> str:
    """The page, as Markdown."""
    store, waits = workbench().store, waiting.waits
    decision = store.get_decision(str(waits.trail["decision"]))
    assert decision is not None
    answers = [one for (flow, _), one in store.answered_requests(run.id).items() if flow == request.flow_run]
    report = workbench().settings.home / "reports" / run.run / "report.html"
    return asking_markdown(Asking(
        business_case=business_case(run, waits, decision), waits=waits, plan=run.read(), decision=decision, standing=now, expires_at=request.expires_at, texts=request.texts,
        elsewhere=[one for one in store.signoffs_of_decision(waits.decision) if one.run != run.run],
        refused=answers[-1]["refused"] if answers else (),
        report=str(report) if report.is_file() else None, plots=plots,
        package=store.get_package(waits.package) if waits.package else None,
    ))  # fmt: skip


def business_case(run: RunRef, waits: Awaiting, decision: Decision) -> str:
    """Its arithmetic with what was measured; empty at other stages."""
    case, evaluation = run.read().business_case, workbench().store.get_evaluation(str(waits.trail["evaluation"]))
    if waits.stage != "training" or case is None or evaluation is None:
        return ""
    return business_case_markdown(measured(case, evaluation, decision))


# --- what was given in the form ----------------------------------------------------------------------------------------


@task(name="read-form", **PLAY)
def handle_answers(run: RunRef) -> None:
    """Record the signatures that were pasted into forms of this flow run, each once however often the flow runs again.

    A bad signature is no failure: what was wrong is kept, and shown with the next form. The input is read as it was given: what
    a form offered then may be another choice than today's.
    """
    store, flow_run_id = workbench().store, str(flow_run.get_id())
    done = store.answered_requests(run.id)
    for request in store.requests_of(run.id):
        if request.flow_run != flow_run_id or (flow_run_id, request.key) in done:
            continue
        given = read_flow_run_input(f"suspended-{request.key}-response", flow_run_id=UUID(flow_run_id))
        if given is not None:
            answer(run, request, given)


def answer(run: RunRef, request: Request, given: Any) -> None:
    """Handle one form. Of what was typed nothing but the choice of a prepared text is kept, and the signature if it is good."""
    store = workbench().store
    chosen = given.get("statement", NOTHING) if isinstance(given, dict) else NOTHING
    pasted = given.get("signature", "") if isinstance(given, dict) else ""
    refused: tuple[str, ...] = ()
    text = request.texts.get(chosen) if isinstance(chosen, str) else None
    try:
        if text is not None:
            accept(run, text, str(pasted))
        elif chosen != NOTHING or pasted:
            raise InputError("a signature was given without saying which of the texts it is under")
    except InputError as error:
        refused = reasons_of(error)
    body = {"flow_run": request.flow_run, "key": request.key, "statement": chosen if text else None, "refused": refused}
    store.append_event("quantplay", ANSWERED, run.run, body)
    announce("sign-offs", "; ".join(refused) or "the form was read")


def accept(run: RunRef, text: str, pasted: str) -> None:
    """Record the signature under a prepared text. Raises InputError with every reason against it."""
    store = workbench().store
    armored = rewrapped(pasted)
    if any(one.text == text for one in store.signoffs_of(run.id)):
        return  # recorded, and killed before that was noted
    waits = store.awaiting(run.id)
    if waits is None:
        raise InputError("the run does not wait for a signature any more")
    record_signature(store, waits, owners_of_settings(), text.encode(), armored)
