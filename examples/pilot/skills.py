"""The five skills of the support desk: one generator a slice, each a pure function of its random generator.

A generator returns one *document* (an order, a ticket, a page of orders) with the questions asked about it. Questions
about the same document share its name, so that the statistics can treat them as one cluster.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

ITEMS = (
    "lamp mug chair desk shelf clock vase rug plate bowl kettle towel pillow blanket basket mirror candle frame "
    "stool jar tray brush fan heater"
).split()
COLOURS = "red blue green black white grey yellow brown".split()
CITIES = "oslo paris rome madrid vienna berlin dublin lisbon athens prague warsaw london".split()
DAYS = "monday tuesday wednesday thursday friday saturday sunday".split()
NAMES = "anna ben clara david emma felix grace henry iris jack karen leo maria nora oscar paula".split()
WORDS = ITEMS + COLOURS + CITIES + DAYS

PROBLEMS = {
    "damage": ("arrived broken", "has a crack", "came in pieces", "is scratched"),
    "delivery": ("has not arrived", "is late", "went to the wrong address", "is lost"),
    "billing": ("was charged twice", "has the wrong price", "is missing from the invoice", "was paid already"),
    "praise": ("is lovely", "works very well", "is just right", "made us happy"),
}
URGENCY = {
    "high": ("answer today", "this is urgent", "we need it now"),
    "normal": ("please help", "tell us what to do", "write to us"),
    "low": ("no hurry", "whenever you can", "just so you know"),
}


@dataclass(frozen=True, kw_only=True)
class Example:
    """One question about a document, with the answer the desk must give."""

    prompt: str
    answer: str
    scorer: str  # exact | json | number: how an answer is compared, see docs/evaluation-sets.md


Generator = Callable[[Random], list[Example]]


def order_number(rng: Random) -> int:
    return rng.randint(100, 999)


def sum_written_out(prices: list[int]) -> str:
    """The running sum, one addition a step: `12+30=42 42+7=49 total 49`."""
    steps, total = [], prices[0]
    for price in prices[1:]:
        steps.append(f"{total}+{price}={total + price}")
        total += price
    return " ".join([*steps, f"total {total}"])


def arithmetic(rng: Random) -> list[Example]:
    """Multi-step arithmetic over an order of 3 or 4 lines, the steps written out; the last number counts."""
    items = rng.sample(ITEMS, rng.choice((3, 3, 4)))
    prices = [rng.randint(2, 60) for _ in items]
    lines = "".join(f"{item} {price}\n" for item, price in zip(items, prices, strict=True))
    return [
        Example(
            prompt=f"order {order_number(rng)}\n{lines}total?\n", answer=sum_written_out(prices), scorer="number"
        )
    ]


def follow(words: list[str], order: str, case: str, separator: str, ending: str) -> str:
    chosen = {"keep the order": words, "reverse the order": words[::-1], "only the first": words[:1]}.get(order)
    if chosen is None:
        chosen = words[-1:]
    if case == "in capitals":
        chosen = [word.upper() for word in chosen]
    joined = {"commas": ", ", "dashes": " - ", "slashes": " / "}[separator].join(chosen)
    return joined + (" done" if ending == "end with done" else "")


def instruction(rng: Random, lengths: tuple[int, ...] = (3, 4, 5)) -> list[Example]:
    """Precise instruction following: order, case, separator and ending are each asked for."""
    words = rng.sample(WORDS, rng.choice(lengths))
    order = rng.choice(("keep the order", "reverse the order", "only the first", "only the last"))
    case = rng.choice(("in capitals", "in small letters"))
    separator = rng.choice(("commas", "dashes", "slashes"))
    ending = rng.choice(("end with done", "no ending"))
    prompt = f"words: {' '.join(words)}\n{order}, {case}, with {separator}, {ending}\n"
    return [Example(prompt=prompt, answer=follow(words, order, case, separator, ending), scorer="exact")]


def ticket(rng: Random, with_order: bool = True) -> list[Example]:
    number = order_number(rng) if with_order else None
    item, name = rng.choice(ITEMS), rng.choice(NAMES)
    category, urgency = rng.choice(list(PROBLEMS)), rng.choice(list(URGENCY))
    subject = f"the {rng.choice(COLOURS)} {item}"
    about = f"{subject} of order {number}" if with_order else subject
    text = f"{about} {rng.choice(PROBLEMS[category])}, {rng.choice(URGENCY[urgency])}"
    fields = {"order": number, "item": item, "category": category, "priority": urgency}
    return [Example(prompt=f"ticket from {name}: {text}\njson?\n", answer=json.dumps(fields), scorer="json")]


def triage(rng: Random) -> list[Example]:
    """A ticket becomes JSON with exactly four fields; anything else around it is wrong."""
    return ticket(rng)


def page(rng: Random) -> tuple[str, dict[int, dict[str, str]]]:
    """A page of 5 to 8 shipped orders: the longer context a fact is fetched from."""
    orders = {
        number: {"item": rng.choice(ITEMS), "city": rng.choice(CITIES), "day": rng.choice(DAYS)}
        for number in rng.sample(range(100, 1000), rng.randint(5, 8))
    }
    lines = "".join(f"order {n}: {o['item']} to {o['city']} on {o['day']}\n" for n, o in orders.items())
    return lines, orders


def retrieval(rng: Random) -> list[Example]:
    """One fact about one order on the page; two questions a page."""
    lines, orders = page(rng)
    return [
        Example(prompt=f"{lines}order {number} {field}?\n", answer=orders[number][field], scorer="exact")
        for number in rng.sample(list(orders), 2)
        for field in [rng.choice(("item", "city", "day"))]
    ]


def edge(rng: Random) -> list[Example]:
    """What a desk meets at the rim: unknown orders, empty or one-line orders, tickets without an order, one word."""
    kind = rng.choice(("unknown", "empty", "single", "no order", "one word"))
    if kind == "unknown":
        lines, orders = page(rng)
        missing = rng.choice([n for n in range(100, 1000) if n not in orders])
        field = rng.choice(("item", "city", "day"))
        return [Example(prompt=f"{lines}order {missing} {field}?\n", answer="unknown order", scorer="exact")]
    if kind == "empty":
        return [Example(prompt=f"order {order_number(rng)}\ntotal?\n", answer="no items", scorer="exact")]
    if kind == "single":
        price = rng.randint(2, 99)
        prompt = f"order {order_number(rng)}\n{rng.choice(ITEMS)} {price}\ntotal?\n"
        return [Example(prompt=prompt, answer=f"total {price}", scorer="exact")]
    if kind == "no order":
        return ticket(rng, with_order=False)
    return instruction(rng, lengths=(1,))


SLICES: dict[str, Generator] = {
    "multi_step": arithmetic,
    "instructions": instruction,
    "output_format": triage,
    "long_context": retrieval,
    "edge_cases": edge,
}
"""Slice name -> generator; the order is the order in every table."""
