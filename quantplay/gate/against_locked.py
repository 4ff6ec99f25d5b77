"""Today's answers beside the locked ones, and a verdict a gated quantity. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from quantplay.gate.decide import judge_slices
from quantplay.gate.pairing import Pair
from quantplay.gate.sentences import title_of
from quantplay.plan import Gate
from quantplay.records import Evaluation, ItemResult, SliceVerdict


def paired(then: Evaluation, now: Evaluation) -> dict[str, Pair]:
    """Items answered both times, by id: the locked answer as source, today's as candidate."""
    today = {item.id: item for item in now.candidate.items}
    found = sorted((item for item in then.candidate.items if item.id in today), key=lambda item: item.id)
    return {item.id: Pair(source=item, reference=item, candidate=moved_into(item, today[item.id])) for item in found}


def moved_into(locked: ItemResult, today: ItemResult) -> ItemResult:
    """Today's answer in the slice and the document it was locked in."""
    return today.model_copy(update={"slice": locked.slice, "cluster": locked.cluster})


def changed(pair: Pair) -> bool:
    return (pair.source.score, pair.source.response) != (pair.candidate.score, pair.candidate.response)


def same_losses(then: Evaluation, now: Evaluation) -> bool:
    return then.hardest_loss_candidate == now.hardest_loss_candidate


def against_locked(
    gate: Gate,
    hardest: Sequence[str],
    then: Evaluation,
    now: Evaluation,
    pairs: Mapping[str, Pair],
    titles: Mapping[str, str],
) -> tuple[SliceVerdict, ...]:
    """Every gated quantity, with the locked results `then` in place of the baseline; () where items of one are missing."""
    hardest = [key for key in hardest if key in pairs]
    present = {pair.source.slice for pair in pairs.values()}
    if not hardest or any(name not in present for name in gate.slices):
        return ()
    swapped = now.model_copy(update={"hardest_loss_reference": then.hardest_loss_candidate})
    judged = judge_slices(gate, pairs, hardest, swapped, titles)
    of_hardest = set(hardest)
    return tuple(
        unchanged(verdict, titles)
        if is_unchanged(verdict, [p for p in pairs.values() if belongs(p, verdict, of_hardest)], then, now)
        else verdict.model_copy(update={"conversion_drop": None})
        for verdict in judged
    )


def belongs(pair: Pair, verdict: SliceVerdict, hardest: set[str]) -> bool:
    return pair.source.id in hardest if verdict.slice == "hardest" else pair.source.slice == verdict.slice


def is_unchanged(verdict: SliceVerdict, pairs: list[Pair], then: Evaluation, now: Evaluation) -> bool:
    return same_losses(then, now) if verdict.metric == "gold_loss" else not any(changed(pair) for pair in pairs)


def unchanged(verdict: SliceVerdict, titles: Mapping[str, str]) -> SliceVerdict:
    """The very same answers need no bound: what the gate said of them then holds."""
    what = "no answer changed" if verdict.metric == "score" else "no loss of an expected answer changed"
    reason = f"{title_of(verdict.slice, titles)}: {what}."
    return verdict.model_copy(
        update={"verdict": "pass", "reason": reason, "items_missing": None, "conversion_drop": None}
    )
