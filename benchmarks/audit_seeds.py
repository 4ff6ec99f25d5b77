"""Does the audit name the seven classic mistakes, and only them? `python -m benchmarks.audit_seeds [--quick]`

Seeds were written from what the mistakes are, beside the audit and without looking at it: for each mistake at least five ways in which it
shows in the records of a run, a package or an endpoint (benchmarks/audit_seeds_parts/), and more than twenty runs that
make none of them, some of which come near (clean.py there). All of them are written into one PostgreSQL through the store. A
mistake that a recorded reason waives has to be named as waived. `--quick` is the same.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from benchmarks.audit_seeds_parts.asked_too_little import ASKED_TOO_LITTLE
from benchmarks.audit_seeds_parts.clean import CLEAN
from benchmarks.audit_seeds_parts.how_it_serves import HOW_IT_SERVES
from benchmarks.audit_seeds_parts.where_it_runs import WHERE_IT_RUNS
from benchmarks.audit_seeds_parts.written import Seed, written
from benchmarks.live_lab import ground
from benchmarks.report import Goal, at_most, finish, print_table
from quantplay.store.registry import Store

MISTAKES = (
    "no_task_evaluation", "generic_calibration", "too_aggressive_too_soon", "no_kernel_support", "not_measured_on_target",
    "format_mismatch", "no_rollback_plan",
)  # fmt: skip
WRONG: tuple[Seed, ...] = (*ASKED_TOO_LITTLE, *WHERE_IT_RUNS, *HOW_IT_SERVES)
SEEDS: tuple[Seed, ...] = (*WRONG, *CLEAN)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the audit named at a seed: mistake -> waived."""

    seed: Seed
    named: dict[str, bool]
    failed: str = ""  # why the audit gave no answer

    @property
    def missed(self) -> list[str]:
        return [name for name in self.seed.expected if name not in self.named]

    @property
    def extra(self) -> list[str]:
        return [name for name in self.named if name not in self.seed.expected and name not in self.seed.also]

    @property
    def waived_wrongly(self) -> list[str]:
        """Named with a reason that there is not, or without one that there is."""
        named, expected = self.named, self.seed.expected
        return [name for name in expected if name in named and named[name] != expected[name]]

    @property
    def words(self) -> str:
        told = [("missed", self.missed), ("too much", self.extra), ("waived or not", self.waived_wrongly)]
        found = [f"{what}: {', '.join(names)}" for what, names in told if names]
        return "; ".join([*([f"failed: {self.failed}"] if self.failed else []), *found]) or "right"


def written_all(store: Store) -> dict[str, str]:
    """Every seed in the database; name -> subject to audit."""
    return {seed.name: written(store, seed) for seed in SEEDS}


def judged(store: Store, seed: Seed, subject: str) -> Verdict:
    """What the audit names at a seed."""
    from quantplay.audit import audit

    try:
        found = audit(store, subject, seed.kind)
    except Exception as error:  # noqa: BLE001 - one audit that fails must not hide what the others say
        return Verdict(seed=seed, named={}, failed=f"{type(error).__name__} {error}".splitlines()[0][:100])
    return Verdict(seed=seed, named={one.name: bool(one.waived) for one in found.mistakes})


def goals(verdicts: Sequence[Verdict]) -> dict[str, Goal]:
    wrong = [one for one in verdicts if one.seed.expected]
    clean = [one for one in verdicts if not one.seed.expected]
    return {
        "failed": at_most(sum(bool(one.failed) for one in verdicts), 0),
        "missed": at_most(sum(len(one.missed) for one in wrong), 0),
        "false_alarms": at_most(sum(len(one.extra) for one in clean), 0),
        "extra": at_most(sum(len(one.extra) for one in wrong), 0),
        "waived_wrongly": at_most(sum(len(one.waived_wrongly) for one in wrong), 0),
    }


def main() -> int:
    with ground() as here, here.store() as store:
        with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(sa.text("ALTER SYSTEM SET fsync = off"))  # nothing here has to survive a power cut
            connection.execute(sa.text("SELECT pg_reload_conf()"))
        subjects = written_all(store)
        started = time.perf_counter()
        verdicts = [judged(store, seed, subjects[seed.name]) for seed in SEEDS]
        seconds = time.perf_counter() - started
    print_table(
        ("seed", "expected", "named", "verdict"),
        [
            (one.seed.name, ", ".join(one.seed.expected) or "none", ", ".join(one.named) or "none", one.words)
            for one in verdicts
        ],
    )
    variants = {name: sum(name in seed.expected for seed in WRONG) for name in MISTAKES}
    found = {"seeds": len(WRONG), "clean": len(CLEAN), "variants": variants, "seconds_of_all_audits": round(seconds, 1)}
    return finish("audit_seeds", found, goals(verdicts))


if __name__ == "__main__":
    sys.exit(main())
