"""The audit's oracle: its seeds are stored as the product stores a run, and the audit names what they hold and nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import URL, Engine

from benchmarks.audit_seeds import CLEAN, MISTAKES, SEEDS, WRONG, Verdict, goals, judged, written_all
from benchmarks.audit_seeds_parts.cases import recorded_as, run_of
from benchmarks.audit_seeds_parts.written import Ending, Seed
from quantplay.settings import Settings
from quantplay.store.registry import Store, open_store

Seeded = tuple[Store, dict[str, str]]
EVALUATED = set(Ending().plays)


@pytest.fixture(scope="module")
def seeded(server: tuple[URL, Engine], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seeded]:
    """One database with every seed, and the subject of each."""
    url, engine = server
    with engine.connect() as connection:
        connection.execute(sa.text("create database audit_seeds template template strategy file_copy"))
    home = tmp_path_factory.mktemp("audit-seeds")
    settings = Settings(
        home=home, cache=home / "cache", artifacts_url=(home / "artifacts").as_uri(), threads=1, prefect_api_url=None,
        database_url=url.set(database="audit_seeds", drivername="postgresql").render_as_string(hide_password=False),
        owners=Path("/nonexistent/owners.yaml"),
    )  # fmt: skip
    with open_store(settings) as store:
        yield store, written_all(store)
    with engine.connect() as connection:
        connection.execute(sa.text("drop database audit_seeds with (force)"))


def test_as_many_variants_as_promised_and_each_says_what_it_is() -> None:
    assert len({seed.name for seed in SEEDS}) == len({seed.says for seed in SEEDS}) == len(SEEDS)
    variants = Counter(name for seed in WRONG for name in seed.expected)
    assert set(variants) == set(MISTAKES)
    assert min(variants.values()) >= 5
    assert len(CLEAN) >= 20
    assert not any(seed.expected or seed.also for seed in CLEAN)
    assert not any(seed.also & set(seed.expected) for seed in WRONG)


def test_runs_packages_and_endpoints_are_audited() -> None:
    for seeds in (WRONG, CLEAN):
        assert {seed.kind for seed in seeds} == {"run", "package", "endpoint"}


@pytest.mark.parametrize("seed", SEEDS, ids=[seed.name for seed in SEEDS])
def test_a_seed_reads_back(seeded: Seeded, seed: Seed) -> None:
    """Every key of the run leads to a record, and a run that locked something passed its gate."""
    store, subjects = seeded
    run = store.get_run(str(run_of(seed.name)))
    assert run is not None
    assert run.outcome == seed.ending.outcome
    assert store.get_plan(run.plan) is not None
    getters = {
        "calibration": store.get_calibration_check, "baseline": store.get_baseline, "envelope": store.get_envelope,
        "ptq": store.get_artifact, "evaluate": store.get_evaluation, "gate": store.get_decision, "lock": store.get_package,
        "training": store.get_training,
    }  # fmt: skip
    records = {play.play: getters[play.play](play.key) for play in run.plays}
    assert None not in records.values()
    assert {"calibration", "baseline", "envelope"} & set(records)
    if seed.ending.outcome == "locked" and set(seed.ending.plays) >= EVALUATED:
        keys = [play.key for play in run.plays if play.play == "gate"]
        decisions = {found.attempt: found for key in keys if (found := store.get_decision(key))}
        assert decisions[max(decisions)].verdict == "pass"
        assert run.package is not None
    if seed.kind == "run":
        assert subjects[seed.name] == str(run.id)
    elif seed.kind == "package":
        assert subjects[seed.name] == run.package
    else:
        assert [policy.endpoint for policy in store.traffic_policies(subjects[seed.name])] == [recorded_as(seed.name)]


def test_events_sign_offs_policies_and_revalidations_read_back_too(seeded: Seeded) -> None:
    store, _ = seeded
    assert store.verify_events() == ()
    for seed in SEEDS:
        run = store.get_run(str(run_of(seed.name)))
        assert run is not None
        signed = run.profile == "production" and run.outcome == "locked"
        assert {one.stage for one in store.signoffs_of(run.id)} >= ({"gate", "lock"} if signed else set())
        assert (run.package in store.latest_revalidations()) == (seed.ending.revalidated is not None)
        if seed.ending.release is not None:
            assert store.policy_revision(recorded_as(seed.name), 1).quantized.model == recorded_as(seed.name)


@pytest.mark.parametrize(
    "seed", [seed for seed in CLEAN if seed.ending.outcome == "locked"], ids=lambda seed: seed.name
)
def test_a_clean_run_kept_its_way_back(seeded: Seeded, seed: Seed) -> None:
    store, _ = seeded
    run = store.get_run(str(run_of(seed.name)))
    assert run is not None
    assert run.package is not None
    package = store.get_package(run.package)
    assert package is not None
    assert package.made_of is not None
    baseline = store.get_baseline(package.made_of.baseline)
    assert baseline is not None
    for sha256 in (package_model_files(store, package.made_of.inputs), {baseline.reference.model}):
        assert all(store.pins_of(one) and store.artifacts.exists(one) for one in sha256)


def package_model_files(store: Store, inputs: tuple[str, ...]) -> set[str]:
    manifests = [store.get_manifest(key) for key in inputs]
    return {file.sha256 for one in manifests if one is not None and one.kind == "model" for file in one.files}


def test_a_verdict_tells_missed_too_much_and_wrongly_waived() -> None:
    seed = Seed(name="a", says="A.", expected={"format_mismatch": True}, also=frozenset({"no_kernel_support"}))
    assert Verdict(seed=seed, named={"format_mismatch": True, "no_kernel_support": False}).words == "right"
    found = Verdict(seed=seed, named={"no_rollback_plan": False})
    assert (found.missed, found.extra) == (["format_mismatch"], ["no_rollback_plan"])
    assert Verdict(seed=seed, named={"format_mismatch": False}).waived_wrongly == ["format_mismatch"]
    clean = Verdict(seed=Seed(name="b", says="B."), named={"format_mismatch": False})
    assert {name for name, goal in goals([found, clean]).items() if not goal.met} == {"missed", "extra", "false_alarms"}


@pytest.mark.parametrize("seed", SEEDS, ids=[seed.name for seed in SEEDS])
def test_the_audit_names_what_a_seed_holds_and_nothing_else(seeded: Seeded, seed: Seed) -> None:
    store, subjects = seeded
    assert judged(store, seed, subjects[seed.name]).words == "right"
