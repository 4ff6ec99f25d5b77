"""No rollback plan: no way back, or rules that would never take it."""

from __future__ import annotations

from collections.abc import Iterator

from quantplay.audit.facts import Facts, Release
from quantplay.audit.mistakes.signs import Classic, Sign
from quantplay.records.rollback_rules import DEFAULT_RATIO, SIGNALS, RollbackRules

NEVER = 0.9  # share of conversations: a ceiling from here on is none
TOO_MUCH = 5.0  # a ratio to full precision from here on is no comparison
NOT_NEGLIGIBLE = 0.5  # a rate called negligible from here on hides every signal
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


def kept(facts: Facts) -> bool | None:
    """Whether full precision is pinned: every file of its weights, or the very file the serving runtime fell back to."""
    model = facts.manifests.get("model")
    weights = (
        [file for file in model.files if file.path.endswith((".safetensors", ".gguf", ".bin"))]
        if model is not None
        else []
    )
    if weights and all(facts.pins.get(file.sha256) for file in weights):
        return True
    if facts.baseline is not None and facts.pins.get(facts.baseline.reference.model):
        return True
    return False if weights or facts.baseline is not None else None


def not_archived(facts: Facts) -> Iterator[Sign]:
    if kept(facts) is False:
        assert facts.package is not None
        yield Sign(
            why="Full precision is not archived: neither the source's weights nor the file it was measured as are pinned in the store.",
            evidence=(facts.shows("package", f"of run {facts.package.run[:8]}, no pin on full precision"),),
            fix="quantplay run PLAN archives and pins it with the lock",
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
    return (
        None
        if kept(facts)
        else "Neither the model's manifest nor a baseline is there to tell what would have to be archived."
    )


def needs(facts: Facts) -> tuple[str, ...]:
    return ("plan", "baseline", "package") + (("releases",) if facts.kind == "endpoint" else ())


NO_ROLLBACK_PLAN = Classic(
    name="no_rollback_plan", question="Is there a way back that would be taken?", owner="on_call", signs=signs, needs=needs,
    also=no_lock_yet, rules=("rollback.", "release."),
)  # fmt: skip
