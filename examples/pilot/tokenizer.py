"""Train the pilot's SentencePiece tokenizer on generated text and write it the way transformers loads it."""

from __future__ import annotations

import io
from pathlib import Path
from random import Random

from skills import FIRST_LESSONS, WORDS

VOCABULARY = 1024


def corpus(seed: int, documents: int) -> list[str]:
    rng = Random(seed)
    texts = []
    for _ in range(documents):
        for generator in FIRST_LESSONS.values():
            texts += [example.text for example in generator(rng)]
    texts += [" ".join(WORDS), " ".join(word.upper() for word in WORDS)] * 400
    return texts


def train_tokenizer(folder: Path, seed: int = 11) -> None:
    """Write `tokenizer.model` (SentencePiece BPE, byte fallback, digits split) and its configuration into `folder`."""
    import sentencepiece
    from transformers import LlamaTokenizer

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([line for text in corpus(seed, 3000) for line in text.split("\n") if line]),
        model_writer=model,
        model_type="bpe",
        vocab_size=VOCABULARY,
        byte_fallback=True,
        split_digits=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        character_coverage=1.0,
        num_threads=1,
        minloglevel=2,
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.model").write_bytes(model.getvalue())
    (folder / "tokenizer.json").unlink(
        missing_ok=True
    )  # transformers would take an older one in place of tokenizer.model
    tokenizer = LlamaTokenizer.from_pretrained(folder, add_bos_token=True, add_eos_token=False)
    tokenizer.save_pretrained(folder)
