"""What training would be worth, by the numbers of the plan: the arithmetic a manager signs, line by line. Pure."""

from __future__ import annotations

from math import isfinite

from quantplay.plan import BusinessCase
from quantplay.records import Decision, Evaluation, Record

DAYS = 30  # of a month


class Line(Record):
    """One step of the arithmetic."""

    what: str
    value: float
    unit: str
    how: str  # the terms it came from


class Arithmetic(Record):
    """All of it. `net` and `payback_months` count only what is known: before the gate neither memory nor quality is."""

    currency: str
    lines: tuple[Line, ...]
    a_month: float  # won
    net: float  # over all months, training paid
    payback_months: float | None  # None where nothing is won

    @property
    def pays(self) -> bool:
        return self.net > 0

    @property
    def verdict(self) -> str:
        if self.payback_months is None:
            return "by these numbers training wins nothing"
        word = "pays for itself" if self.pays else "does not pay for itself"
        return f"by these numbers training {word}: back after {self.payback_months:.1f} months, {self.net:,.0f} {self.currency} in the end"


def arithmetic(case: BusinessCase, gib_freed: float | None = None, points_won: float | None = None) -> Arithmetic:
    """`gib_freed`: memory the quantized model leaves free, GiB; `points_won`: quality training can win back at most, points."""
    money = case.currency
    tokens = case.requests_per_day * case.tokens_per_request * DAYS / 1e6
    serving = tokens * case.serving_cost_per_million_tokens
    saved = serving * case.serving_saving_percent / 100
    lines = [
        Line(
            what="tokens a month", value=tokens, unit="million",
            how=f"{case.requests_per_day:,.8g} requests a day x {case.tokens_per_request:,.8g} tokens x {DAYS} days",
        ),
        Line(
            what="serving at full precision, a month", value=serving, unit=money,
            how=f"{tokens:,.8g} million x {case.serving_cost_per_million_tokens:,.8g} {money}",
        ),
        Line(
            what="of which the quantized model saves", value=saved, unit=money,
            how=f"{case.serving_saving_percent:g} % of {serving:,.8g} {money}",
        ),
    ]  # fmt: skip
    a_month = saved
    for what, amount, unit, worth in (
        ("memory freed, a month", gib_freed, "GiB", case.worth_per_gib_month),
        ("quality won back at most, a month", points_won, "points", case.worth_per_point_month),
    ):
        if amount is not None:
            a_month += amount * worth
            how = f"{amount:,.8g} {unit} x {worth:,.8g} {money}"
            lines.append(Line(what=what, value=amount * worth, unit=money, how=how))
    net = case.months * a_month - case.training_cost
    lines += [
        Line(what="won a month", value=a_month, unit=money, how="the sum of what is saved, freed and won back"),
        Line(
            what="won in the end", value=net, unit=money,
            how=f"{case.months:g} months x {a_month:,.8g} - {case.training_cost:,.8g} {money} for training",
        ),
    ]  # fmt: skip
    payback = case.training_cost / a_month if a_month > 0 else None
    if payback is not None and not isfinite(payback):  # next to nothing is won: less than a float can divide by
        payback = None
    return Arithmetic(currency=money, lines=tuple(lines), a_month=a_month, net=net, payback_months=payback)


def measured(case: BusinessCase, evaluation: Evaluation, decision: Decision) -> Arithmetic:
    """The same with what play 4 measured: memory of both models, and the mean drop of the gated slices."""
    freed = (evaluation.reference_performance.weights_bytes - evaluation.performance.weights_bytes) / (1 << 30)
    drops = [max(one.drop, 0.0) for one in decision.slices if one.unit == "points" and one.slice != "hardest"]
    return arithmetic(case, freed, sum(drops) / len(drops) if drops else 0.0)
