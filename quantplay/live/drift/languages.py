"""Which language is a text in? By the script of its letters, and by stop words where several languages share one.

Cheap and coarse on purpose: a gateway asks it of live prompts, and what counts is that shares move when the traffic does.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence

LANGUAGES = (
    "no letters", "English", "German", "French", "Spanish", "Portuguese", "Italian", "Dutch", "Polish", "Swedish", "Turkish",
    "other Latin", "Russian", "Ukrainian", "other Cyrillic", "Greek", "Arabic", "Hebrew", "Devanagari", "other Indic", "Thai",
    "Chinese", "Japanese", "Korean", "other script",
)  # fmt: skip
"""Its place in this list is what is counted, so new ones go to the end."""
NUMBER = {name: number for number, name in enumerate(LANGUAGES)}
# First code point of a block -> what its letters are; blocks that are left out belong to the one before.
BLOCKS = (
    (0x0000, "Latin"), (0x0370, "Greek"), (0x0400, "Cyrillic"), (0x0530, "other script"), (0x0590, "Hebrew"), (0x0600, "Arabic"),
    (0x0780, "other script"), (0x0900, "Devanagari"), (0x0980, "other Indic"), (0x0E00, "Thai"), (0x0E80, "other script"),
    (0x1100, "Korean"), (0x1200, "other script"), (0x1E00, "Latin"), (0x1F00, "Greek"), (0x2000, "Latin"), (0x2C00, "other script"),
    (0x3040, "Japanese"), (0x3100, "Chinese"), (0x3130, "Korean"), (0x3190, "Chinese"), (0xA000, "other script"),
    (0xAC00, "Korean"), (0xD800, "other script"), (0xF900, "Chinese"), (0xFB00, "Latin"), (0xFB13, "other script"),
    (0xFB1D, "Hebrew"), (0xFB50, "Arabic"), (0xFE00, "other script"), (0xFF21, "Latin"), (0xFF66, "Japanese"), (0xFFA0, "Korean"),
    (0x10000, "other script"), (0x1D400, "Latin"), (0x1D800, "other script"), (0x20000, "Chinese"), (0x32000, "other script"),
)  # fmt: skip
STARTS, SCRIPTS = [start for start, _ in BLOCKS], [script for _, script in BLOCKS]
STOP_WORDS = {
    "English": "the of and to is that for with you this are was be have not what can how my please",
    "German": "der die das und ist nicht ein eine ich sie mit für auf wie bitte zu den von es dem",
    "French": "le la les des et est une je vous pas pour dans que qui sur du avec un mon en",
    "Spanish": "el la los las una que por para con mi cómo del un lo en su está pero más muy",
    "Portuguese": "os uma que não por para com meu você da em um na está ao são isso também mais como",
    "Italian": "il gli una che non per con mio come del della di un sono si la le più anche nel",
    "Dutch": "de het een en niet ik van voor met dat op mijn hoe te zijn er aan wat ook naar",
    "Polish": "nie na jest się że jak mam po czy dla od za proszę co oraz przez tylko już był mnie",
    "Swedish": "och det att är inte en jag som på med för ett den till hur om har av kan från",
    "Turkish": "ve bir bu için ne ile mi da de çok ben nasıl olan gibi daha değil mı lütfen var ama",
    "Russian": "не на что как это он по но из за от так мне для пожалуйста или был она все мы",
    "Ukrainian": "не на що як це він по та але із за від так мені для ви або був вона ми",
}
SHARED = {
    "Latin": ("English", "German", "French", "Spanish", "Portuguese", "Italian", "Dutch", "Polish", "Swedish", "Turkish"),
    "Cyrillic": ("Russian", "Ukrainian"),
}  # fmt: skip


def languages_by_word(names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    words = sorted({word for name in names for word in STOP_WORDS[name].split()})
    return {word: tuple(name for name in names if word in STOP_WORDS[name].split()) for word in words}


BY_WORD = {script: languages_by_word(names) for script, names in SHARED.items()}
LETTERS = 256  # of a text that are looked at
FEWEST_HITS = 2  # different stop words from which a text has a language


def language_of(text: str, words: Sequence[str]) -> int:
    """Place in `LANGUAGES`. words: those of `text`, in small letters."""
    script = "Latin" if text.isascii() else script_of(text)
    if script not in SHARED:
        return NUMBER[script] if script else 0
    told = set(words)
    if not any(word[0].isalpha() for word in told):
        return 0
    known = BY_WORD[script]
    hits = Counter(name for word in told & known.keys() for name in known[word])
    # Of two with as many hits the one that stands first, so that the answer is the same everywhere.
    best = max(SHARED[script], key=lambda name: hits[name])
    return NUMBER[best if hits[best] >= FEWEST_HITS else f"other {script}"]


def script_of(text: str) -> str:
    """The script of most letters of an even sample; empty where there are none. Kana make a text Japanese, whatever else there is."""
    sample = text[:: 1 + len(text) // LETTERS]
    found = Counter(SCRIPTS[bisect_right(STARTS, ord(letter)) - 1] for letter in sample if letter.isalpha())
    if found["Japanese"] and found["Chinese"] + found["Japanese"] > sum(found.values()) / 2:
        return "Japanese"
    return max(sorted(found), key=lambda script: found[script]) if any(found.values()) else ""
