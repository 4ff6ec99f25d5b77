"""Text of the trained benchmark models: Python's standard library, code and English documentation in one, split by file.

`python benchmarks/trained/corpus.py OUT` writes OUT/train.npy (tokens, uint16), the tokenizer into OUT/tokenizer, and beside this
file heldout.jsonl and calibration.jsonl, from files that are not trained on.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import sysconfig
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
VOCABULARY = 1024
CHARACTERS = 1200  # of one held-out or calibration sample
HELDOUT_SAMPLES, CALIBRATION_SAMPLES = 160, 256


def sources() -> dict[str, list[str]]:
    """Split name -> texts. A file's name decides its split, so that another version of Python splits alike."""
    library = Path(sysconfig.get_paths()["stdlib"])
    splits: dict[str, list[str]] = {"train": [], "heldout": [], "calibration": []}
    for path in sorted(library.rglob("*.py")):
        if "site-packages" in path.parts:
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        if len(text) < CHARACTERS or not text.isascii():
            continue
        name = path.relative_to(library).as_posix()
        place = int(hashlib.sha256(name.encode()).hexdigest(), 16) % 40
        splits[{0: "heldout", 1: "calibration"}.get(place, "train")].append(text)
    return splits


def samples(texts: list[str], count: int, name: str) -> Iterator[dict[str, str]]:
    """One stretch from the middle of each text, from the top again with the next stretch until there are enough."""
    number = written = 0
    while written < count:
        for text in texts:
            start = len(text) // 3 + number * CHARACTERS
            if start + CHARACTERS <= len(text) and written < count:
                start = text.find("\n", start) + 1
                yield {"id": f"{name}-{written:04d}", "text": text[start : start + CHARACTERS]}
                written += 1
        number += 1


def train_tokenizer(texts: list[str], folder: Path) -> None:
    import sentencepiece
    from transformers import LlamaTokenizer

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([line for text in texts[::12] for line in text.split("\n") if line]),
        model_writer=model, model_type="bpe", vocab_size=VOCABULARY, byte_fallback=True, split_digits=True,
        normalization_rule_name="identity", remove_extra_whitespaces=False, allow_whitespace_only_pieces=True,
        character_coverage=1.0, num_threads=1, minloglevel=2,
    )  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.model").write_bytes(model.getvalue())
    LlamaTokenizer.from_pretrained(folder, add_bos_token=True, add_eos_token=False).save_pretrained(folder)


def main(out: Path) -> None:
    import numpy as np
    from transformers import AutoTokenizer

    splits = sources()
    train_tokenizer(splits["train"], out / "tokenizer")
    tokenizer = AutoTokenizer.from_pretrained(out / "tokenizer")
    columns = [np.array(ids, np.uint16) for ids in tokenizer(splits["train"])["input_ids"]]
    np.save(out / "train.npy", np.concatenate(columns))
    held = [np.array(ids, np.uint16) for ids in tokenizer(splits["heldout"])["input_ids"]]
    np.save(out / "heldout.npy", np.concatenate(held))
    for name, count in (("heldout", HELDOUT_SAMPLES), ("calibration", CALIBRATION_SAMPLES)):
        with (HERE / f"{name}.jsonl").open("w", encoding="utf-8", newline="\n") as file:
            for row in samples(splits[name], count, name):
                file.write(json.dumps(row) + "\n")
    print(
        {name: (len(texts), sum(map(len, texts))) for name, texts in splits.items()}, sum(map(len, columns)), "tokens"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    main(parser.parse_args().out)
