"""Ten kinds of text a model may be asked, for calibration sets without a fault: generated from a seed, or real."""

from __future__ import annotations

import ast
import json
import sysconfig
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from random import Random

from quantplay.evalset import EvalItem, TextSample


def listed(words: str) -> list[str]:
    return words.split()


THINGS = listed(
    "invoice parcel kettle router password subscription refund laptop charger mattress passport coupon window receipt "
    "bicycle ticket boiler camera garden piano novel engine bridge harbour orchard glacier sparrow vaccine senate harvest "
    "theatre satellite bakery village lantern comet museum canyon violin treaty reactor pigeon meadow tunnel archive "
    "volcano orchestra ferry quarry beetle prairie cathedral factory telescope lagoon blizzard hostel monument anchor"
)
ACTS = listed(
    "arrived broke vanished leaked expired doubled failed stalled opened closed grew melted sang collapsed recovered turned "
    "drifted burned shone crossed froze slipped returned split waited faded surged cracked rotated settled"
)
HOWS = listed(
    "yesterday twice slowly without warning near the river before breakfast again in silence after the storm by accident "
    "at midnight every winter under pressure on schedule for no reason upstairs abroad last spring overnight"
)
PEOPLE = listed(
    "Anna Ben Clara David Emma Felix Grace Henry Iris Jack Karen Leo Maria Nora Oscar Paula Quentin Rosa Sven Tara"
)
VERBS = listed(
    "load merge split rank hash trim scan plot fetch store check match order drop join count sum scale shift mask"
)
NOUNS = listed(
    "row node key page tree index batch token frame path queue chunk label edge field cell block entry slot group"
)


def sentence(dice: Random) -> str:
    """Running English with function words."""
    one, other, who = dice.choice(THINGS), dice.choice(THINGS), dice.choice(PEOPLE)
    return dice.choice(
        (
            f"The {one} {dice.choice(ACTS)} {dice.choice(HOWS)}, and {who} said that the {other} would have to wait.",
            f"{who} never trusted a {one} that {dice.choice(ACTS)} so close to the {other}.",
            f"When a {one} {dice.choice(ACTS)}, nobody in the {other} noticed it {dice.choice(HOWS)}.",
            f"It was {who} who found the {one} under the {other}.",
            f"Of all the things in this {one}, the {other} {dice.choice(ACTS)} first.",
            f"Why should {who} pay for the {one} if the {other} {dice.choice(ACTS)} {dice.choice(HOWS)}?",
        )
    )


def prose(dice: Random) -> str:
    return " ".join(sentence(dice) for _ in range(dice.randint(3, 14)))


def support(dice: Random) -> str:
    """Tickets from a form: the same field names in each, free text in between."""
    text = " ".join(sentence(dice) for _ in range(dice.randint(1, 8)))
    return f"From: {dice.choice(PEOPLE)}\nAbout: {dice.choice(THINGS)} {dice.randint(1, 9999)}\n{text}\nPriority: {dice.choice(['high', 'low'])}"


def chat(dice: Random) -> str:
    return "\n".join(f"{role}: {sentence(dice)}" for _ in range(dice.randint(1, 6)) for role in ("user", "assistant"))


def code(dice: Random) -> str:
    lines = []
    for _ in range(dice.randint(2, 6)):
        verb, noun, other = dice.choice(VERBS), dice.choice(NOUNS), dice.choice(NOUNS)
        lines.append(f"def {verb}_{noun}({other}, {dice.choice(THINGS)}):")
        for _ in range(dice.randint(1, 6)):
            a, b = dice.choice(NOUNS), dice.choice(THINGS)
            lines.append(
                dice.choice(
                    (
                        f"    {a} = {dice.choice(VERBS)}({b}, {dice.randint(0, 99)})",
                        f"    if {b} > {dice.choice(THINGS)}: raise {dice.choice(NOUNS).title()}Error({a!r})",
                        f"    for {a} in {b}.{dice.choice(NOUNS)}s: {dice.choice(VERBS)}({a})",
                        f"    return [{a} for {a} in {dice.choice(THINGS)} if {a}.{dice.choice(NOUNS)} != {b}]",
                    )
                )
            )
    return "\n".join(lines)


def json_objects(dice: Random) -> str:
    """Requests of a service with many endpoints: other keys each time."""
    keys = dice.sample(NOUNS, dice.randint(3, 14))
    values = [dice.choice([dice.randint(0, 9999), dice.choice(THINGS), dice.choice(PEOPLE), True, None]) for _ in keys]
    return json.dumps(dict(zip(keys, values, strict=True)) | {"op": dice.choice(VERBS), "note": sentence(dice)})


def german(dice: Random) -> str:
    nomen = listed(
        "Rechnung Paket Wasser Brücke Garten Fahrrad Fenster Schlüssel Bericht Vertrag Motor Ofen Zeitung Straße Berg Wiese"
    )
    taten = listed(
        "gekommen zerbrochen verschwunden bezahlt geliefert gesucht verloren gefunden geöffnet verschoben gemeldet"
    )
    saetze = [
        dice.choice(
            (
                f"Die Sache mit {dice.choice(nomen)} und {dice.choice(nomen)} ist {dice.choice(taten)}.",
                f"{dice.choice(PEOPLE)} hat {dice.choice(nomen)} Nummer {dice.randint(1, 999)} nie {dice.choice(taten)}, obwohl {dice.choice(nomen)} da war.",
                f"Warum wurde {dice.choice(nomen)} schon wieder nicht {dice.choice(taten)}?",
            )
        )
        for _ in range(dice.randint(2, 12))
    ]
    return " ".join(saetze)


def chinese(dice: Random) -> str:
    """Written without spaces."""
    letters = "天地人山水火木金土日月星雲風雨雪花草鳥魚馬牛羊門窗車船書筆紙茶飯酒衣食住行東西南北春夏秋冬早晚高低大小長短新舊多少遠近"
    return "".join(
        "".join(dice.choice(letters) for _ in range(dice.randint(4, 14))) + "。" for _ in range(dice.randint(2, 9))
    )


def sql(dice: Random) -> str:
    parts = []
    for _ in range(dice.randint(1, 4)):
        columns = ", ".join(dice.sample(NOUNS, dice.randint(1, 6)))
        parts.append(
            f"select {columns} from {dice.choice(THINGS)} join {dice.choice(THINGS)} using ({dice.choice(NOUNS)}) "
            f"where {dice.choice(NOUNS)} {dice.choice(['<', '=', 'like'])} '{dice.choice(PEOPLE)}' order by {dice.choice(NOUNS)};"
        )
    return "-- " + sentence(dice) + "\n" + "\n".join(parts)


def docstrings(dice: Random) -> str:
    return dice.choice(real_texts()[0])


def functions(dice: Random) -> str:
    return dice.choice(real_texts()[1])


@cache
def real_texts() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Docstrings and functions of Python's own library, whatever version runs this; no two share six words in a row."""
    docs, codes = dict[str, None](), dict[str, None]()
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        source = path.read_text(encoding="utf-8")
        lines = source.splitlines()
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and (text := ast.get_docstring(node)):
                docs[text] = None
            if isinstance(node, ast.FunctionDef):
                codes["\n".join(lines[node.lineno - 1 : node.end_lineno])] = None
    return apart(docs), apart(codes)


def apart(texts: Iterable[str]) -> tuple[str, ...]:
    kept, seen = [], set[tuple[str, ...]]()
    for text in texts:
        words = text.lower().split()
        runs = set(zip(*(words[start:] for start in range(6)), strict=False))
        if 15 <= len(words) <= 500 and not runs & seen:
            kept.append(text)
            seen |= runs
    return tuple(kept)


KINDS: dict[str, Callable[[Random], str]] = {
    "support": support, "prose": prose, "chat": chat, "code": code, "json": json_objects, "german": german,
    "chinese": chinese, "sql": sql, "docstrings": docstrings, "functions": functions,
}  # fmt: skip
TOKENS = 400  # words read of a sample


def texts(kind: str, name: str, count: int, taken: set[str]) -> tuple[TextSample, ...]:
    """`count` different texts of a kind that are not in `taken`, which gains them."""
    dice = Random(f"{kind}/{name}")
    found: list[TextSample] = []
    while len(found) < count:
        text = KINDS[kind](dice)
        if text not in taken:
            taken.add(text)
            found.append(TextSample(f"{name}-{len(found):03d}", text))
    return tuple(found)


def items(samples: tuple[TextSample, ...]) -> tuple[EvalItem, ...]:
    """The same as evaluation items."""
    return tuple(
        EvalItem(id=one.id, slice="all", document=one.id, prompt=one.text, answer="yes", scorer="exact")
        for one in samples
    )
