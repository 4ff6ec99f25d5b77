"""Every way we know to get past a sign-off, tried against the real thing: `python -m benchmarks.signoff_attacks [--quick]`.

A real PostgreSQL, real SSH keys and ssh-keygen, and a real Prefect server that shows the forms. An attack succeeds when afterwards a
signature counts that its person did not honestly give for this very question, or when one that was given does not count. Honest
signatures by the same ways are in the table too: a lock that nobody can open proves nothing.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from benchmarks.attack_ground import Ground, Run, ground
from benchmarks.report import at_least, at_most, finish, print_table
from benchmarks.sign_desk import signed_with
from quantplay.errors import QuantplayError


def honest(on: Ground) -> list[tuple[str, bool]]:
    """The same ways, walked honestly."""
    both, lock, training = on.run(), on.run("lock"), on.run("training")
    for run, people in ((both, ("ada", "grace")), (lock, ("grace",)), (training, ("mary",))):
        for person in people:
            on.submit(run, on.statement(run, person))
    return [
        (f"signed at stage {run.waits.stage}", on.standing(run).state == "approved") for run in (both, lock, training)
    ]


def told(error: BaseException) -> str:
    faults = getattr(error, "faults", ())
    return f"refused: {faults[0]}" if faults else f"refused: {str(error).splitlines()[0]}"


def held(on: Ground, run: Run, expected: frozenset[str] | None) -> bool:
    return expected is None or {one.person for one in on.standing(run).counted} == expected


def tried(
    name: str, attack: Callable[[Run], str], on: Ground, run: Run, expected: frozenset[str] | None
) -> tuple[str, str, str]:
    """Attack, what happened, and whether it held. What is no refusal of ours or of the database is a fault of this benchmark."""
    try:
        what = attack(run)
    except (QuantplayError, DBAPIError) as error:
        what = told(error)
    except AssertionError as error:
        return name, str(error), "SUCCEEDED"
    return name, " ".join(what.split())[:110], "held" if held(on, run, expected) else "SUCCEEDED"


def leaked(folder: Path, secret: Path) -> bool:
    """Whether a line of a private key stands anywhere in Prefect's or our files."""
    lines = [line.encode() for line in secret.read_text().splitlines()[1:-1] if len(line) > 60]
    for path in (folder / "home").rglob("*"):
        if path.is_file() and any(line in path.read_bytes() for line in lines):
            return True
    return False


def main() -> int:
    started = time.monotonic()
    rows: list[tuple[str, str, str]] = []
    with ground() as on:
        from prefect.client.orchestration import get_client

        from benchmarks.attacks_by_form import BY_FORM, GRACE, Counter
        from benchmarks.attacks_by_text import BY_TEXT

        honestly = honest(on)
        with get_client(sync_client=True) as client:
            desk = Counter(on, client)
            for name, attack, stage, expected in BY_TEXT:
                rows.append(tried(name, lambda run, attack=attack: attack(on, run), on, on.run(stage), expected))
            for name, attack, stage, expected in BY_FORM:
                rows.append(tried(name, lambda run, attack=attack: attack(desk, run), on, on.run(stage), expected))
            run = on.run()
            request = desk.suspended(run)
            pasted = " ".join(signed_with(on.keys["grace"], request.texts[GRACE]).split("\n"))
            came = desk.give(run, request, statement=GRACE, signature=pasted)
            honestly.append(("pasted in one line", came == "handled" and held(on, run, frozenset({"grace"}))))
        secret = leaked(on.folder, on.keys["grace"])
        chain = on.store.verify_events()
    succeeded = sum(row[2] != "held" for row in rows)
    print_table(("attack", "what happened", ""), rows)
    print()
    print_table(("honest way", ""), [(name, "works" if good else "REFUSED") for name, good in honestly])
    figures = {"attacks": len(rows), "succeeded": succeeded, "seconds": round(time.monotonic() - started, 1)}
    return finish(
        "signoff_attacks", figures,
        {
            "attacks tried": at_least(len(rows), 25),
            "attacks that succeeded": at_most(succeeded, 0),
            "honest ways that work": at_least(sum(good for _, good in honestly), len(honestly)),
            "private keys found in any file": at_most(int(secret), 0),
            "faults in the chain of events": at_most(len(chain), 0),
        },
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
