"""Attacks with a text and a signature, with the database, and with the files around them. Each returns what happened, or is refused."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from benchmarks.attack_ground import INTRUDER, ROLES, Ground, Run, digest
from benchmarks.sign_desk import signed_with
from quantplay.errors import IntegrityError, QuantplayError
from quantplay.handoff.signing import record_signature
from quantplay.records import SignOff
from quantplay.signoff import read_owners, read_owners_text, record_of, render, ssh

Attack = Callable[[Ground, Run], str]


def tampered(before: bytes, after: bytes, verdict: Any = "approve") -> Attack:
    """A signed text, changed afterwards."""

    def attack(on: Ground, run: Run) -> str:
        said = render(on.statement(run, "grace", verdict))
        assert before in said
        return on.submit(run, said.replace(before, after, 1), signed_with(on.keys["grace"], said.decode()))

    return attack


def changed(person: str = "grace", key: str | None = None, **changes: Any) -> Attack:
    """A text that says something else than what this run asks, honestly signed."""
    return lambda on, run: on.submit(run, on.statement(run, person, **changes), key=key)


def replayed(on: Ground, run: Run) -> str:
    """Withdraw a rejection's effect by giving the earlier approval once more."""
    said = render(on.statement(run, "grace"))
    signature = signed_with(on.keys["grace"], said.decode())
    on.submit(run, said, signature)
    return on.submit(run, said, signature)


def of_another_run(on: Ground, run: Run) -> str:
    return on.submit(run, on.statement(on.run(), "grace"))


def of_another_stage(on: Ground, run: Run) -> str:
    other = on.statement(on.run("lock"), "grace")
    return on.submit(run, other.model_copy(update={"run": str(run.id)}))


def under_another_namespace(on: Ground, run: Run) -> str:
    said = render(on.statement(run, "grace")).decode()
    return on.submit(run, said.encode(), signed_with(on.keys["grace"], said, namespace="git"))


def in_two_roles(on: Ground, run: Run) -> str:
    """Where the owners file gives one person both roles."""
    (on.folder / "owners.yaml").write_text(on.owners_text(ada="ml_engineer, product_owner"))
    owners = read_owners(on.folder / "owners.yaml")
    (on.folder / "owners.yaml").write_text(on.owners_text())
    for role in ("ml_engineer", "product_owner"):
        said = render(on.statement(run, "ada", role=role))
        record_signature(on.store, run.waits, owners, said, signed_with(on.keys["ada"], said.decode()))
    return "recorded in both roles"


def after_the_key_was_revoked(on: Ground, run: Run) -> str:
    left = {name: role for name, role in ROLES.items() if name != "grace"}
    said = render(on.statement(run, "grace"))
    signature = signed_with(on.keys["grace"], said.decode())
    record_signature(on.store, run.waits, on.owners(**left), said, signature)
    return "recorded"


def with_swapped_owners(on: Ground, run: Run) -> str:
    """Put an owners file with an own key in place, sign as somebody else, and put the old one back."""
    text = on.owners_text().replace(on.keys["grace"].with_suffix(".pub").read_text().strip(), "GRACE")
    text = text.replace("GRACE", on.keys[INTRUDER].with_suffix(".pub").read_text().strip())
    said = render(on.statement(run, "grace"))
    swapped = read_owners_text(text.encode(), "owners.yaml")
    record_signature(on.store, run.waits, swapped, said, signed_with(on.keys[INTRUDER], said.decode()))
    return "recorded while the file was swapped; counts for nothing now"


def garbage(signature: str) -> Attack:
    return lambda on, run: on.submit(run, render(on.statement(run, "grace")), signature)


def raw(text: bytes) -> Attack:
    """Something that is no text of ours, honestly signed where it can be."""
    return lambda on, run: on.submit(run, text, signed_with(on.keys["grace"], text.decode("utf-8", "replace")))


def with_a_nul(on: Ground, run: Run) -> str:
    said = render(on.statement(run, "grace"))
    return on.submit(
        run, said.replace(b'comment: ""', b'comment: "\x00"'), signed_with(on.keys["grace"], said.decode())
    )


def gate_loosened_in_the_plan(on: Ground, run: Run) -> str:
    run.plan.write_text(run.plan.read_text().replace("max_drop: 60.0", "max_drop: 89.0"))
    return on.submit(run, on.statement(run, "grace"))


def newer_run_with_another_gate(on: Ground, run: Run) -> str:
    from quantplay.plan_file import read_plan

    name = read_plan(run.plan).name
    before = run.plan.read_text()
    on.run(name=name, gate__expected_flip_rate=0.2)
    run.plan.write_text(before)
    return on.submit(run, on.statement(run, "grace"))


def approved_after_a_rejection(on: Ground, run: Run) -> str:
    on.submit(run, on.statement(run, "ada", "reject"))
    return on.submit(run, on.statement(run, "ada"))


def on_a_run_that_ended(on: Ground, run: Run) -> str:
    on.store.finish_run(run.id, outcome="rejected", exit_code=16)
    return on.submit(run, on.statement(run, "grace"))


def on_an_explored_run(on: Ground, run: Run) -> str:
    from quantplay.signoff.rules import run_fault

    explored = on.run(profile="explore")
    row = on.store.get_run(str(explored.id))
    assert row is not None
    fault = run_fault(str(row.id), row.profile, row.outcome, True)
    return "would be signed" if fault is None else f"refused: {fault}"


def twice_at_once(on: Ground, run: Run) -> str:
    """One signed text, given sixteen times at the same moment."""
    said = render(on.statement(run, "grace"))
    signature = signed_with(on.keys["grace"], said.decode())

    def once(_: int) -> bool:
        try:
            return on.submit(run, said, signature) == "recorded"
        except QuantplayError:
            return False

    with ThreadPoolExecutor(4) as pool:
        recorded = sum(pool.map(once, range(16)))
    assert recorded == 1, recorded
    return "recorded once of 16"


def yes_and_no_at_once(on: Ground, run: Run) -> str:
    """The last approval against a rejection, at the same moment: whichever is second is refused."""
    on.submit(run, on.statement(run, "ada"))
    texts = [on.statement(run, "grace"), on.statement(run, "ada", "reject")]

    def one(text: Any) -> bool:
        try:
            return on.submit(run, text) == "recorded"
        except QuantplayError:
            return False

    with ThreadPoolExecutor(2) as pool:
        recorded = list(pool.map(one, texts))
    assert sum(recorded) == 1, recorded
    assert on.standing(run).state == ("approved" if recorded[0] else "rejected")
    return f"{'the approval' if recorded[0] else 'the rejection'} came first and stands"


# --- somebody with write access to the database --------------------------------------------------------------------------


def forged_row(on: Ground, run: Run, text: bytes, signature: str, **changes: Any) -> None:
    """A sign-off written past every check."""
    statement = on.statement(run, "grace")
    record = record_of(
        statement, text=text, signature=signature, key=ssh.fingerprint_of_key(on.keys["grace"]), owners=on.owners(),
        now=datetime.now(UTC),
    )  # fmt: skip
    on.store.put_signoff(SignOff.model_validate(record.model_dump() | {"text": text.decode()} | changes))


def row_with_another_key(on: Ground, run: Run) -> str:
    said = render(on.statement(run, "grace"))
    forged_row(on, run, said, signed_with(on.keys[INTRUDER], said.decode()))
    return "in the database; does not verify"


def row_unlike_its_text(on: Ground, run: Run) -> str:
    """A real signature under a rejection, recorded as an approval."""
    said = render(on.statement(run, "grace", "reject"))
    forged_row(on, run, said, signed_with(on.keys["grace"], said.decode()))
    return "in the database; its text says another thing"


def row_of_another_run(on: Ground, run: Run) -> str:
    """A real signature of another run, copied over with the run's id changed."""
    said = render(on.statement(on.run(), "grace"))
    forged_row(on, run, said, signed_with(on.keys["grace"], said.decode()))
    return "in the database; its text names another run"


def row_recorded_after_its_time(on: Ground, run: Run) -> str:
    past = datetime.now(UTC) - timedelta(days=20)
    old = on.statement(run, "grace").model_copy(
        update={
            "issued_at": past.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "expires_at": (past + timedelta(days=7)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
    )
    said = render(old)
    forged_row(
        on, run, said, signed_with(on.keys["grace"], said.decode()), nonce=old.nonce, issued_at=old.issued_at,
        expires_at=old.expires_at,
    )  # fmt: skip
    return "in the database; recorded after the text had expired"


def events_changed(on: Ground, run: Run) -> str:
    with on.store.engine.begin() as connection:
        connection.execute(
            sa.text("update quantplay.events set actor = 'somebody else' where subject = :run"), {"run": str(run.id)}
        )
    return "changed"


def events_changed_past_the_triggers(on: Ground, run: Run) -> str:
    """As a superuser who switches the triggers off: the chain shows it."""
    seq = on.store.events(subject=str(run.id))[-1].seq
    with on.store.engine.begin() as connection:
        connection.execute(sa.text("alter table quantplay.events disable trigger user"))
        before = connection.scalar(sa.text("select actor from quantplay.events where seq = :seq"), {"seq": seq})
        connection.execute(sa.text("update quantplay.events set actor = 'x' where seq = :seq"), {"seq": seq})
    found = on.store.verify_events()
    with on.store.engine.begin() as connection:
        connection.execute(
            sa.text("update quantplay.events set actor = :actor where seq = :seq"), {"actor": before, "seq": seq}
        )
        connection.execute(sa.text("alter table quantplay.events enable trigger user"))
    assert found, "the chain did not notice"
    return f"noticed: {found[0]}"


def signature_deleted(on: Ground, run: Run) -> str:
    """Make a rejection go away: the events still tell of it, so nothing goes on."""
    on.submit(run, on.statement(run, "ada", "reject"))
    with on.store.engine.begin() as connection:
        connection.execute(sa.text("delete from quantplay.signoffs where run = :run"), {"run": str(run.id)})
    try:
        on.standing(run)
    except IntegrityError as error:
        return f"noticed: {error.what}"
    raise AssertionError("the rejection is gone")


OLD = datetime.now(UTC) - timedelta(days=9)
STAMP = "%Y-%m-%dT%H:%M:%SZ"
APPROVED, REJECTED = frozenset({"grace"}), frozenset({"ada"})

# What is done, by what, at which stage, and whose signature honestly counts afterwards (None: the attack itself looks).
BY_TEXT: tuple[tuple[str, Attack, Any, frozenset[str] | None], ...] = (
    ("verdict changed after signing", tampered(b"verdict: reject", b"verdict: approve", "reject"), "gate", frozenset()),
    ("a blank added after signing", tampered(b"role: ", b"role:  "), "gate", frozenset()),
    ("line ends changed to CR LF", tampered(b"\n", b"\r\n"), "gate", frozenset()),
    ("the same text given twice", replayed, "gate", APPROVED),
    ("signature of another run", of_another_run, "gate", frozenset()),
    ("signature of another stage", of_another_stage, "gate", frozenset()),
    ("text about another decision", changed(decision=digest()), "gate", frozenset()),
    ("text about another gate", changed(gate=digest()), "gate", frozenset()),
    ("text about another package", changed(manifest=digest()), "lock", frozenset()),
    ("text about another business case", changed("mary", business_case=digest()), "training", frozenset()),
    ("loosened tolerances not named", changed(gate_changes=3), "gate", frozenset()),
    ("expired text", changed(issued_at=OLD.strftime(STAMP), expires_at=(OLD + timedelta(days=7)).strftime(STAMP)), "gate", frozenset()),
    ("text from the future", changed(issued_at="2098-01-01T00:00:00Z", expires_at="2098-01-02T00:00:00Z"), "gate", frozenset()),
    ("text that gives itself 70 years", changed(expires_at="2096-01-01T00:00:00Z"), "gate", frozenset()),
    ("a role the person does not have", changed("ada", role="product_owner"), "gate", frozenset()),
    ("a role that signs nothing here", changed("olaf"), "gate", frozenset()),
    ("engineer approves the cost of training", changed("ada"), "training", frozenset()),
    ("one person in both roles", in_two_roles, "gate", frozenset({"ada"})),
    ("key of nobody", changed(key=INTRUDER), "gate", frozenset()),
    ("key of another signer", changed(key="ada"), "gate", frozenset()),
    ("a person nobody knows", changed(INTRUDER, role="product_owner"), "gate", frozenset()),
    ("key removed from the owners file", after_the_key_was_revoked, "gate", frozenset()),
    ("owners file swapped for a moment", with_swapped_owners, "gate", frozenset()),
    ("signature made for git", under_another_namespace, "gate", frozenset()),
    ("no signature at all", garbage(""), "gate", frozenset()),
    ("garbage as signature", garbage("-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\n"), "gate", frozenset()),
    ("10 MB as signature", garbage("-----BEGIN SSH SIGNATURE-----\n" + "A" * 10_000_000), "gate", frozenset()),
    ("NUL and bytes beyond ASCII as signature", garbage("\x00\xff\n"), "gate", frozenset()),
    ("10 MB as text", raw(b"quantplay sign-off 1\n" + b"x" * 10_000_000), "gate", frozenset()),
    ("NUL in the text", with_a_nul, "gate", frozenset()),
    ("text that is not UTF-8", raw(b"quantplay sign-off 1\nrun: \xff\n"), "gate", frozenset()),
    ("gate loosened in the plan since", gate_loosened_in_the_plan, "gate", frozenset()),
    ("a newer run froze another gate", newer_run_with_another_gate, "gate", frozenset()),
    ("approval after one's own rejection", approved_after_a_rejection, "gate", REJECTED),
    ("run that has ended", on_a_run_that_ended, "gate", frozenset()),
    ("run of profile explore", on_an_explored_run, "gate", frozenset()),
    ("one text, 16 times at once", twice_at_once, "gate", APPROVED),
    ("last approval and rejection at once", yes_and_no_at_once, "gate", None),
    ("sign-off written into the database, wrong key", row_with_another_key, "gate", frozenset()),
    ("rejection recorded as approval", row_unlike_its_text, "gate", frozenset()),
    ("sign-off of another run copied in the database", row_of_another_run, "gate", frozenset()),
    ("sign-off recorded after its time", row_recorded_after_its_time, "gate", frozenset()),
    ("event changed in the database", events_changed, "gate", frozenset()),
    ("event changed with the triggers off", events_changed_past_the_triggers, "gate", frozenset()),
    ("rejection deleted in the database", signature_deleted, "gate", None),
)  # fmt: skip
