"""No rollback plan: no way back, or rules that would never take it."""

from __future__ import annotations

from collections.abc import Iterator

from quantplay.audit.facts import Facts, Release
from quantplay.audit.mistakes.signs import Classic, Sign
from quantplay.records.rollback_rules import DEFAULT_RATIO, SIGNALS, RollbackRules

NEVER = 0.9  # share of conversations: a ceiling from here on is none
TOO_MUCH = 5.0  # a ratio to full precision from here on is no comparison
NOT_NEGLIGIBLE = 0.5  # a rate called negligible from here on hides every signal
WHO_TELLS = "It takes the model's manifest or a baseline, and the artifact store it was locked into (QUANTPLAY_ARTIFACTS_URL), to tell what is archived."
A_DAY = 1440  # minutes without any count


def signs(facts: Facts) -> Iterator[Sign]:
    if facts.locked and facts.package is not None and facts.package.made_of is not None:
        yield from not_archived(facts)
    if facts.releases:
        for release in facts.releases:
            yield from of_release(facts, release)
    elif facts.plan is not None and facts.plan.rollback_rules is not None:
        for why in too_loose(facts.plan.rollback_rules):
            yield Sign(
                why=why, evidence=(facts.shows("plan", "rollback_rules"),), fix="tighten rollback_rules, then quantplay run PLAN",
                waived=facts.waiver("rollback."),
            )  # fmt: skip


def to_go_back_to(facts: Facts) -> dict[str, str]:
    """Files of full precision, each with its name: its weights, or where no manifest tells them what the runtime served."""
    model, baseline = facts.manifests.get("model"), facts.baseline
    weights = {
        file.sha256: file.path
        for file in (model.files if model is not None else ())
        if file.path.endswith((".safetensors", ".gguf", ".bin", ".pt", ".pth"))
    }
    if weights or baseline is None:
        return weights
    return {baseline.reference.model: "the file it was measured as"}


def kept(facts: Facts) -> bool | None:
    """Whether every one of them is pinned and there; None where nothing tells."""
    wanted = to_go_back_to(facts)
    if not wanted or (all(facts.pins.get(sha) for sha in wanted) and facts.archived is None):
        return None
    return all(facts.pins.get(sha) and facts.archived is not None and facts.archived.get(sha) for sha in wanted)


def not_archived(facts: Facts) -> Iterator[Sign]:
    """Full precision of which a part may be deleted, or is gone: what is left serves nobody."""
    assert facts.package is not None
    wanted = to_go_back_to(facts)
    open_to = sorted(name for sha, name in wanted.items() if not facts.pins.get(sha))
    gone = sorted(name for sha, name in wanted.items() if facts.archived is not None and not facts.archived.get(sha))
    told = (
        (open_to, "not protected against deletion", "quantplay run PLAN archives and pins them with the lock"),
        (gone, "not in the artifact store", "restore them from a copy; quantplay run PLAN archives and pins them with the lock"),
    )  # fmt: skip
    for names, what, fix in told:
        if names:
            yield Sign(
                why=f"Full precision is not archived: of {len(wanted)} files {len(names)} {'is' if len(names) == 1 else 'are'} {what} "
                f"({', '.join(names[:3])}{' ...' if len(names) > 3 else ''}).",
                evidence=(facts.shows("package", f"of run {facts.package.run[:8]}: {names[0]} is {what}"),), fix=fix,
            )  # fmt: skip


def of_release(facts: Facts, release: Release) -> Iterator[Sign]:
    policy, where = release.policy, f"{release.endpoint}, revision {release.revision}"
    fix = f"quantplay release PACKAGE --endpoint {release.endpoint} with both arms; until then quantplay rollback {release.endpoint}"

    def sign(why: str) -> Sign:
        return Sign(why=why, evidence=(facts.shows("release", where),), fix=fix)

    full, quantized = policy.full_precision, policy.quantized
    if full.artifact == quantized.artifact:
        yield sign(
            f"Both arms of {release.endpoint} are the file {full.artifact[:12]}: there is nothing to go back to."
        )
    elif (full.url, full.model) == (quantized.url, quantized.model):
        yield sign(f"Both arms of {release.endpoint} are {full.model} at {full.url}: there is nothing to go back to.")
    elif facts.baseline is not None and full.artifact not in (
        facts.baseline.reference.model, facts.baseline.source.model, facts.baseline.model
    ):  # fmt: skip
        yield sign(
            f"{release.endpoint} would go back to {full.artifact[:12]}, which is not the full precision that was measured."
        )
    for why in too_loose(policy.rules):
        yield sign(why)
    if policy.rules.holdback == 0 and began_at_the_top(release):
        yield sign(
            f"All of {release.endpoint} was given to the quantized model at once and nothing is held back: nobody is left to compare with."
        )


def began_at_the_top(release: Release) -> bool:
    """No conversation ever stayed on full precision under this revision, so its past is no reference either."""
    weights = [one.weight for one in release.changes if one.weight > 0]
    return weights[0] >= 1 if weights else min(release.policy.steps, default=1.0) >= 1


def too_loose(rules: RollbackRules) -> Iterator[str]:
    """Sentences on rules under which a bad model would stay."""
    if rules.negligible >= NOT_NEGLIGIBLE:
        yield f"A rate up to {rules.negligible:g} counts as negligible, so no signal ever takes it back."
        return
    dead = [name for name in SIGNALS if is_dead(rules, name)]
    if len(dead) == len(SIGNALS):
        yield "No signal can ever take it back: every ceiling is out of reach or missing, and so is every comparison."
    elif "error" in dead:
        yield "Errors can never take it back: their ceiling is out of reach or missing, and so is the comparison."
    if rules.blind_minutes >= A_DAY:
        yield f"It stays for {rules.blind_minutes} minutes without a single count."


def is_dead(rules: RollbackRules, name: str) -> bool:
    ceiling = {str(one): share for one, share in rules.ceilings.items()}.get(name, 1.0)
    ratio = {str(one): value for one, value in rules.tolerated_ratio.items()}.get(name, DEFAULT_RATIO)
    return ceiling >= NEVER and ratio >= TOO_MUCH


def no_lock_yet(facts: Facts) -> str | None:
    if facts.package is not None and facts.package.made_of is None:
        return "The package is of an earlier version and does not say what it was locked with; one locked today would tell."
    if not facts.locked:
        return "Nothing is locked yet: the lock archives full precision."
    return None if kept(facts) is not None else WHO_TELLS


def needs(facts: Facts) -> tuple[str, ...]:
    return ("plan", "baseline", "package") + (("releases",) if facts.kind == "endpoint" else ())


NO_ROLLBACK_PLAN = Classic(
    name="no_rollback_plan", question="Is there a way back that would be taken?", owner="on_call", signs=signs, needs=needs,
    also=no_lock_yet, rules=("rollback.", "release."),
)  # fmt: skip
