"""Attacks through Prefect: its form, its API, and what is left in its database. The server is real; what it lets through is handled."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from benchmarks.attack_ground import INTRUDER, Ground, Run
from benchmarks.sign_desk import give, signed_with
from quantplay.signoff import render
from quantplay.signoff.paste import label_of

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

    from quantplay.store.requests import Request

FormAttack = Callable[["Counter", Run], str]
ARMOR = "-----BEGIN SSH SIGNATURE-----\n{}-----END SSH SIGNATURE-----\n"
GRACE = "approve as product_owner by grace"


class Counter:
    """Prefect's server with suspended flow runs, each showing the form of a run that waits."""

    def __init__(self, on: Ground, client: SyncPrefectClient) -> None:
        from prefect import flow

        self.on, self.client = on, client
        flow_id = client.create_flow(flow(lambda: None, name="attacked"))
        self.deployment = client.create_deployment(flow_id=flow_id, name="attacked")

    def suspended(self, run: Run, texts: dict[str, str] | None = None) -> Request:
        """A flow run that shows the form for `run`."""
        from prefect.input import keyset_from_paused_state
        from prefect.states import Running, Suspended

        from flows.signing import form_of

        flow_run = self.client.create_flow_run_from_deployment(self.deployment).id
        request = self.on.request(run, str(flow_run), texts)
        self.client.set_flow_run_state(flow_run, Running(), force=True)
        state = Suspended(pause_key=request.key)
        keys = keyset_from_paused_state(state)
        state.state_details.run_input_keyset = keys
        form_of(request, "what is to be decided").save(keys, flow_run)
        self.client.set_flow_run_state(flow_run, state)
        return request

    def give(self, run: Run, request: Request, **run_input: Any) -> str:
        """Press Resume; where the server accepts, do what the resumed flow does first. What came of it."""
        status, reason = give(self.client, UUID(request.flow_run), run_input)
        if status != "ACCEPT":
            return f"Prefect refused: {reason}"
        return self.handled(run, request)

    def handled(self, run: Run, request: Request) -> str:
        from quantplay.records import Inputs
        from tasks.asking import handle_answers
        from tasks.workbench import RunRef

        os.environ["PREFECT__FLOW_RUN_ID"] = request.flow_run
        inputs = Inputs.model_construct()
        handle_answers.fn(RunRef.model_construct(run=str(run.id), plan_path=str(run.plan), plan="", inputs=inputs))
        done = self.on.store.answered_requests(run.id).get((request.flow_run, request.key))
        if done is None:
            return "nothing was given"
        return f"refused: {done['refused'][0]}" if done["refused"] else "handled"


def given(statement: Any = GRACE, signature: Any = "") -> FormAttack:
    return lambda desk, run: desk.give(run, desk.suspended(run), statement=statement, signature=signature)


def private_key_pasted(desk: Counter, run: Run) -> str:
    return desk.give(run, desk.suspended(run), statement=GRACE, signature=desk.on.keys["grace"].read_text())


def private_key_in_the_armor(desk: Counter, run: Run) -> str:
    body = "".join(desk.on.keys["grace"].read_text().splitlines(keepends=True)[1:-1])
    return desk.give(run, desk.suspended(run), statement=GRACE, signature=ARMOR.format(body))


def private_key_past_the_server(desk: Counter, run: Run) -> str:
    """Written into Prefect's database by hand: nothing of it reaches ours."""
    request = desk.suspended(run)
    desk.client.create_flow_run_input(
        UUID(request.flow_run),
        f"suspended-{request.key}-response",
        json.dumps({"statement": GRACE, "signature": "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjE"}),
    )
    return desk.handled(run, request)


def signature_of(desk: Counter, run: Run, request: Request, who: str = "grace", label: str = GRACE) -> str:
    return signed_with(desk.on.keys[who], request.texts[label])


def statement_of_another(desk: Counter, run: Run) -> str:
    request = desk.suspended(run)
    return desk.give(
        run, request, statement="approve as ml_engineer by ada", signature=signature_of(desk, run, request)
    )


def signed_by_an_intruder(desk: Counter, run: Run) -> str:
    request = desk.suspended(run)
    return desk.give(run, request, statement=GRACE, signature=signature_of(desk, run, request, INTRUDER))


def approval_for_a_rejection(desk: Counter, run: Run) -> str:
    """The signature under `reject`, given as the approval."""
    texts = {
        label_of(one): render(one).decode()
        for verdict in ("approve", "reject")
        for one in [desk.on.statement(run, "grace", verdict)]
    }
    request = desk.suspended(run, texts)
    signature = signature_of(desk, run, request, label="reject as product_owner by grace")
    return desk.give(run, request, statement=GRACE, signature=signature)


def text_of_a_superseded_decision(desk: Counter, run: Run) -> str:
    """Prepared before the run was decided anew."""
    other = desk.on.run()
    old = desk.on.statement(other, "grace").model_copy(update={"run": str(run.id)})
    request = desk.suspended(run, {label_of(old): render(old).decode()})
    return desk.give(run, request, statement=GRACE, signature=signature_of(desk, run, request))


def text_after_the_request_expired(desk: Counter, run: Run) -> str:
    from benchmarks.attacks_by_text import OLD, STAMP

    old = desk.on.statement(
        run, "grace", issued_at=OLD.strftime(STAMP), expires_at=(OLD + timedelta(days=7)).strftime(STAMP)
    )
    request = desk.suspended(run, {label_of(old): render(old).decode()})
    return desk.give(run, request, statement=GRACE, signature=signature_of(desk, run, request))


def form_of_another_run(desk: Counter, run: Run) -> str:
    """The text of run A, prepared into a form of run B."""
    other = desk.on.statement(desk.on.run(), "grace")
    request = desk.suspended(run, {label_of(other): render(other).decode()})
    return desk.give(run, request, statement=GRACE, signature=signature_of(desk, run, request))


def the_same_form_twice(desk: Counter, run: Run) -> str:
    request = desk.suspended(run)
    first = desk.give(run, request, statement=GRACE, signature=signature_of(desk, run, request))
    status, _ = give(desk.client, UUID(request.flow_run), {"statement": GRACE})
    desk.handled(run, request)
    assert len(desk.on.store.signoffs_of(run.id)) == 1
    return f"{first} once; a second resume: {status}"


def resumed_without_a_signature(desk: Counter, run: Run) -> str:
    return desk.give(run, desk.suspended(run))


def resumed_without_input(desk: Counter, run: Run) -> str:
    request = desk.suspended(run)
    status, _ = give(desk.client, UUID(request.flow_run), None)
    return f"{status}: {desk.handled(run, request)}"


def state_forged(desk: Counter, run: Run) -> str:
    """Prefect made to say that the run is locked."""
    from prefect.states import Completed

    request = desk.suspended(run)
    desk.client.set_flow_run_state(UUID(request.flow_run), Completed(name="Locked"), force=True)
    row = desk.on.store.get_run(str(run.id))
    assert row is not None
    assert row.outcome == "awaiting_signature"
    return f"Prefect says Locked, the product database {row.outcome}"


def unknown_field(desk: Counter, run: Run) -> str:
    return desk.give(run, desk.suspended(run), statement=GRACE, approved=True)


BY_FORM: tuple[tuple[str, FormAttack, Any, frozenset[str] | None], ...] = (
    ("form: a private key pasted", private_key_pasted, "gate", frozenset()),
    ("form: a private key in a signature's armor", private_key_in_the_armor, "gate", frozenset()),
    ("form: a private key written past the server", private_key_past_the_server, "gate", frozenset()),
    ("form: signature under another statement", statement_of_another, "gate", frozenset()),
    ("form: signature of an intruder", signed_by_an_intruder, "gate", frozenset()),
    ("form: a rejection given as approval", approval_for_a_rejection, "gate", frozenset()),
    ("form: text of a superseded decision", text_of_a_superseded_decision, "gate", frozenset()),
    ("form: text after the request expired", text_after_the_request_expired, "gate", frozenset()),
    ("form: text of another run", form_of_another_run, "gate", frozenset()),
    ("form: the same form twice", the_same_form_twice, "gate", frozenset({"grace"})),
    ("form: approval without a signature", given(), "gate", frozenset()),
    ("form: garbage as signature", given(signature="yes, I approve"), "gate", frozenset()),
    ("form: NUL in the signature", given(signature="\x00"), "gate", frozenset()),
    ("form: 1 MB as signature", given(signature=ARMOR.format("U1NIU0lH" + "A" * 1_000_000)), "gate", frozenset()),
    ("form: empty armor", given(signature=ARMOR.format("U1NIU0lH\n")), "gate", frozenset()),
    ("form: a statement nobody prepared", given(statement="approve as product_owner by mallory"), "gate", frozenset()),
    ("form: another type", given(statement=1, signature=["x"]), "gate", frozenset()),
    ("form: a template for the server to render", given(signature={"__prefect_kind": "jinja", "template": "{{ 1 }}"}), "gate", frozenset()),
    ("form: a field of one's own", unknown_field, "gate", frozenset()),
    ("API: resumed without a signature", resumed_without_a_signature, "gate", frozenset()),
    ("API: resumed without any input", resumed_without_input, "gate", frozenset()),
    ("API: state forged as Locked", state_forged, "gate", frozenset()),
)  # fmt: skip
