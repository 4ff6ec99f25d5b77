"""The five skills of the support desk: one generator a slice, each a pure function of its random generator.

A generator returns one *document* (an order, a ticket, a page of orders) with the questions asked about it. Questions
about the same document share its name, so that the statistics can treat them as one cluster.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

ITEMS = [
    "lamp",
    "mug",
    "chair",
    "desk",
    "shelf",
    "clock",
    "vase",
    "rug",
    "plate",
    "bowl",
    "kettle",
    "towel",
    "pillow",
    "blanket",
    "basket",
    "mirror",
    "candle",
    "frame",
    "stool",
    "jar",
    "tray",
    "brush",
    "fan",
    "heater",
]
COLOURS = ["red", "blue", "green", "black", "white", "grey", "yellow", "brown"]
CITIES = [
    "oslo",
    "paris",
    "rome",
    "madrid",
    "vienna",
    "berlin",
    "dublin",
    "lisbon",
    "athens",
    "prague",
    "warsaw",
    "london",
]
DAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
NAMES = [
    "anna",
    "ben",
    "clara",
    "david",
    "emma",
    "felix",
    "grace",
    "henry",
    "iris",
    "jack",
    "karen",
    "leo",
    "maria",
    "nora",
    "oscar",
    "paula",
]
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
    """One question about a document, with the answer the desk must give. Prompt and answer are joined by one space."""

    prompt: str
    answer: str
    scorer: str  # exact | json | number: how an answer is compared, see docs/evaluation-sets.md

    @property
    def text(self) -> str:
        return f"{self.prompt} {self.answer}"


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


def arithmetic(rng: Random, lines: tuple[int, ...] = (3, 4), highest: int = 99) -> list[Example]:
    """Multi-step arithmetic over an order of a few lines, the steps written out; the last number counts."""
    items = rng.sample(ITEMS, rng.choice(lines))
    prices = [rng.randint(2, highest) for _ in items]
    listed = ", ".join(f"{item} {price}" for item, price in zip(items, prices, strict=True))
    prompt = f"order {order_number(rng)}: {listed}\ntotal?\nanswer:"
    return [Example(prompt=prompt, answer=sum_written_out(prices), scorer="number")]


def follow(words: list[str], order: str, case: str, separator: str, ending: str) -> str:
    chosen = {"keep the order": words, "reverse the order": words[::-1], "only the first": words[:1]}.get(order)
    if chosen is None:
        chosen = words[-1:]
    if case == "in capitals":
        chosen = [word.upper() for word in chosen]
    joined = {"commas": ", ", "dashes": " - ", "slashes": " / "}[separator].join(chosen)
    return joined + (" done" if ending == "end with done" else "")


def instruction(rng: Random, count: int = 4) -> list[Example]:
    """Precise instruction following: order, case, separator and ending are each asked for."""
    words = rng.sample(WORDS, count)
    order = rng.choice(("keep the order", "reverse the order", "only the first", "only the last"))
    case = rng.choice(("in capitals", "in small letters"))
    separator = rng.choice(("commas", "dashes", "slashes"))
    ending = rng.choice(("end with done", "no ending"))
    prompt = f"words: {' '.join(words)}\n{order}, {case}, with {separator}, {ending}\nanswer:"
    return [Example(prompt=prompt, answer=follow(words, order, case, separator, ending), scorer="exact")]


def ticket(rng: Random, with_order: bool = True) -> list[Example]:
    number = order_number(rng) if with_order else None
    item, name = rng.choice(ITEMS), rng.choice(NAMES)
    category, urgency = rng.choice(list(PROBLEMS)), rng.choice(list(URGENCY))
    subject = f"the {rng.choice(COLOURS)} {item}"
    about = f"{subject} of order {number}" if with_order else subject
    text = f"{about} {rng.choice(PROBLEMS[category])}, {rng.choice(URGENCY[urgency])}"
    fields = {"order": number, "item": item, "category": category, "priority": urgency}
    return [Example(prompt=f"ticket from {name}: {text}\njson?\nanswer:", answer=json.dumps(fields), scorer="json")]


def triage(rng: Random) -> list[Example]:
    """A ticket becomes JSON with exactly four fields; anything else around it is wrong."""
    return ticket(rng)


def page(rng: Random) -> tuple[str, dict[str, str]]:
    """A page about one order, its fields in any order and some left out: the longer context a fact is fetched from."""
    values = {
        "item": rng.choice(ITEMS),
        "colour": rng.choice(COLOURS),
        "customer": rng.choice(NAMES),
        "agent": rng.choice(NAMES),
        "from": rng.choice(CITIES),
        "to": rng.choice(CITIES),
        "ordered": rng.choice(DAYS),
        "due": rng.choice(DAYS),
        "price": str(rng.randint(2, 99)),
        "weight": str(rng.randint(2, 99)),
    }
    fields = rng.sample(list(values), rng.choice((7, 8, 9)))
    lines = "".join(f"the {field}: {values[field]}\n" for field in fields)
    return f"order {order_number(rng)}\n{lines}", {field: values[field] for field in fields}


FIELDS = ("item", "colour", "customer", "agent", "from", "to", "ordered", "due", "price", "weight")


TWINS = {"from": "to", "to": "from", "ordered": "due", "due": "ordered", "price": "weight", "weight": "price"}
ASKED = ("item", "colour", *TWINS)
"""What is asked for: a fact of a kind that stands on the page once. The model trains on every field, but at this size and length
of training it tells two facts of one kind (two cities, two days, two numbers) apart little better than by chance, and it does not
learn to fetch names at all: the skill was made easier until full precision is right often enough."""


def is_clear(field: str, facts: dict[str, str]) -> bool:
    return field in ASKED and TWINS.get(field) not in facts


def question_about(field: str) -> str:
    return f"what is the {field}?\nanswer:"


def retrieval(rng: Random, any_field: bool = False) -> list[Example]:
    """One field of the page, unless `any_field` one that no other can be mistaken for; up to two questions a page."""
    clear: list[str] = []
    while not clear:
        lines, facts = page(rng)
        clear = [field for field in facts if any_field or is_clear(field, facts)]
    return [
        Example(prompt=lines + question_about(field), answer=facts[field], scorer="exact")
        for field in rng.sample(clear, min(2, len(clear)))
    ]


def edge(rng: Random) -> list[Example]:
    """What a desk meets at the rim: missing fields, empty or one-line orders, tickets without an order, one word."""
    kind = rng.choice(("missing", "missing", "empty", "single", "no order", "one word"))
    if kind == "missing":
        lines, facts = page(rng)
        missing = rng.choice([field for field in FIELDS if field not in facts])
        return [Example(prompt=lines + question_about(missing), answer="not given", scorer="exact")]
    if kind == "empty":
        prompt = f"order {order_number(rng)} of {rng.choice(NAMES)}:\ntotal?\nanswer:"
        return [Example(prompt=prompt, answer="no items", scorer="exact")]
    if kind == "single":
        price = rng.randint(2, 99)
        prompt = f"order {order_number(rng)}: {rng.choice(ITEMS)} {price}\ntotal?\nanswer:"
        return [Example(prompt=prompt, answer=f"total {price}", scorer="exact")]
    if kind == "no order":
        return ticket(rng, with_order=False)
    return instruction(rng, count=1)


SLICES: dict[str, Generator] = {
    "multi_step": arithmetic,
    "instructions": instruction,
    "output_format": triage,
    "long_context": retrieval,
    "edge_cases": edge,
}
"""Slice name -> generator; the order is the order in every table."""

FIRST_LESSONS: dict[str, Generator] = {
    **SLICES,
    "multi_step": lambda rng: arithmetic(rng, lines=(2, 3, 3), highest=50),
    "instructions": lambda rng: instruction(rng, count=3),
    "long_context": lambda rng: retrieval(rng, any_field=True),
}
"""What the model learns first, and what its tokenizer was made from: shorter sums, smaller prices, fewer words, any field."""
