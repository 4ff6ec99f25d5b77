"""Is the converted full-precision file the source model? `python -m benchmarks.converter_parity [--quick]`

The reference that play 3 starts from (llama.cpp's converter to float32 GGUF) against the source in transformers, for the pilot and
for a random model unlike it in shape and precision, in three respects:
- weights: every tensor equals the safetensors tensor bit for bit, after the one reordering llama.cpp documents: rows of query and
  key projections, because it rotates neighbouring pairs where transformers rotates halves (LlamaModel.permute in conversion/llama.py);
- tokens: token ids of real texts, of edge cases and of random texts equal those of transformers' tokenizer;
- logits: in llama.cpp with a float32 cache against transformers in float32, over held-out texts.
Promise: nothing differs in weights; nothing in tokens but for the two known differences, which are listed; same likeliest token
everywhere, mean KL <= 1e-6 nats, and on the trained model every logit within 2.6e-5 of the largest. `--quick`: fewer texts.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from benchmarks.models import PILOT, save_random_model
from benchmarks.report import at_most, finish, print_table, quick_asked
from quantplay import process
from quantplay.engines.llama_cpp import LlamaModel
from quantplay.engines.logits import log_softmax
from quantplay.engines.transformers_model import load_model, load_tokenizer
from quantplay.evalset import read_items, read_texts
from quantplay.harness.lm_llama import LlamaLM
from quantplay.settings import settings

NAMES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
}  # fmt: skip
OUTSIDE = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
EDGE_CASES = (
    "", "a", "a ", "a  b", "a   ", "\n", "\n\n", "\t", "\n a", "\n  a", "a\n b", "\r\n", "a\r\nb", "x\x00y", "\x01", "\x7f",
    "é ü ñ", "日本語", "e\u0301", "\u200b", "\ufeffx", "\u00a0x", "a\u00a0b", "🙂👩\u200d👩\u200d👧", "ﬁ", "ＡＢＣ", "�", "\U0010ffff",
    "a▁b", "<0x41>", "<s", "</s", "[INST]", "<|im_start|>", "12345", "1,234.50", "-7", '{"a": [1, 2]}', "I'm", "ORDER", "--- ***",
    "https://example.com/a?b=c&d=e", "a" * 600, "order 12: lamp to oslo on friday\nanswer:",
)  # fmt: skip
LEADING_SPACE = (" ", "  ", " a", "  a", "▁", "▁a")  # llama.cpp adds its own space as well: refused as prompts
WRITTEN_SPECIAL = (
    "</s>",
    "<unk>",
    "</s>order",
    "order</s>order",
    "a</s> b",
)  # llama.cpp adds a space behind: documented
ALPHABETS = (
    "abcdefghijklmnopqrstuvwxyz", "ABCXYZ0123456789", " \n\t.,:;-_{}[]()\"'<>/\\|", "äöüßéèñçøå", "αβγδεабвгд", "日本語中文한국어",
    "🙂🎉👍🏽\u200d\ufe0f", "\u0301\u0308\u00a0\u2028\u200b",
)  # fmt: skip
LOGIT_SHARE = 2.6e-5


def main() -> int:
    quick = quick_asked()
    models: dict[str, dict[str, Any]] = {}
    differing: list[tuple[str, str, str, list[int], list[int]]] = []
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for name, model in {"pilot": PILOT / "model", "random": save_random_model(work / "source")}.items():
            gguf_file = work / f"{name}.gguf"
            job = {"model": str(model), "out": str(gguf_file), "cache": str(settings().cache), "outtype": "f32"}
            process.run("quantplay.engines.converter:convert_job", job, threads=1)
            models[name] = compare_weights(model, gguf_file)
            with LlamaModel(gguf_file, threads=1, context_tokens=512, cache_type="f32") as llama:
                counts, found = compare_tokens(model, llama, quick)
                models[name] |= counts | compare_logits(model, llama, 4 if quick else None)
            differing += [(name, *case) for case in found]
    show(models, differing)
    both = list(models.values())
    goals = {
        "tensors_different": at_most(sum(one["tensors_different"] for one in both), 0),
        "texts_with_other_tokens": at_most(sum(one["texts_with_other_tokens"] for one in both), 0),
        "positions_with_another_top_token": at_most(sum(one["other_top_tokens"] for one in both), 0),
        "mean_kl_nats": at_most(max(one["mean_kl_nats"] for one in both), 1e-6, "nats"),
        "pilot_logit_difference_over_largest": at_most(models["pilot"]["share_of_largest_logit"], LOGIT_SHARE),
    }
    return finish("converter_parity", {"models": models}, goals)


# --- weights ---------------------------------------------------------------------------------------------------------


def compare_weights(model: Path, gguf_file: Path) -> dict[str, Any]:
    """Tensors that are missing, additional or differ in any bit."""
    import gguf

    stored = {tensor.name: tensor for tensor in gguf.GGUFReader(gguf_file).tensors}
    different = []
    expected = dict(expected_tensors(model))
    for name, values in expected.items():
        tensor = stored.get(name)
        if tensor is None or not np.array_equal(np.asarray(tensor.data).view(np.uint32), values.view(np.uint32)):
            different.append(name)
    different += sorted(stored.keys() - expected.keys())
    return {"tensors": len(expected), "tensors_different": len(different), "different": different}


def expected_tensors(model: Path) -> Iterator[tuple[str, np.ndarray]]:
    """GGUF name -> float32 values, straight from the safetensors files."""
    import json

    import torch
    from safetensors import safe_open

    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    for path in sorted(model.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 - no mapping
                values = np.ascontiguousarray(file.get_tensor(name).to(torch.float32).numpy())
                inner = name.removesuffix(".weight")
                if inner in OUTSIDE:
                    yield f"{OUTSIDE[inner]}.weight", values
                    continue
                layer, _, part = inner.removeprefix("model.layers.").partition(".")
                yield f"blk.{layer}.{NAMES[part]}.weight", neighbouring_pairs(values, heads.get(NAMES[part]))


def neighbouring_pairs(values: np.ndarray, heads: int | None) -> np.ndarray:
    """Rows j and j + d/2 of every head of d rows become rows 2j and 2j + 1; other matrices (`heads` None) stay."""
    if heads is None:
        return values
    halves = values.reshape(heads, 2, -1, values.shape[1])
    return np.ascontiguousarray(halves.transpose(0, 2, 1, 3)).reshape(values.shape)


# --- tokens ----------------------------------------------------------------------------------------------------------


def compare_tokens(
    model: Path, llama: LlamaModel, quick: bool
) -> tuple[dict[str, int], list[tuple[str, str, list[int], list[int]]]]:
    """Counts, and every (kind, text, ids in transformers, ids in llama.cpp) that differs."""
    tokenizer, lm = load_tokenizer(model), LlamaLM(llama)
    kinds = {
        "real": real_texts(300 if quick else None),
        "edge case": EDGE_CASES,
        "random": random_texts(300 if quick else 5000),
        "leading space": LEADING_SPACE,
        "special token": WRITTEN_SPECIAL,
    }
    known = ("leading space", "special token")
    differing = []
    for kind, texts in kinds.items():
        for text, ids in zip(texts, tokenizer(list(texts))["input_ids"], strict=True):
            # as the harness reads prompts; and as plain text, in which nothing is a special token
            readings = [lm.tok_encode(text)] + ([] if kind == "special token" else [llama.tokenize(text)])
            differing += [(kind, text, list(ids), reading) for reading in readings if reading != list(ids)][:1]
    counts = {
        "texts": sum(len(texts) for kind, texts in kinds.items() if kind not in known),
        "texts_with_other_tokens": sum(kind not in known for kind, *_ in differing),
        "known_cases": sum(len(kinds[kind]) for kind in known),
        "known_cases_that_differ": sum(kind in known for kind, *_ in differing),
    }
    return counts, differing


def real_texts(limit: int | None) -> list[str]:
    """Held-out and calibration texts, and every prompt of the gate items with its answer."""
    items = read_items(PILOT / "evaluation" / "gate.jsonl")
    texts = [
        sample.text
        for name in ("heldout/text", "calibration/traffic")
        for sample in read_texts(PILOT / f"{name}.jsonl")
    ]
    return (texts + [item.prompt for item in items] + [item.prompt + item.following(item.answer) for item in items])[
        :limit
    ]


def random_texts(count: int) -> list[str]:
    """Texts of 1 to 40 characters, each from up to three alphabets; none starts with a space or holds a special token."""
    random = Random(3)
    texts = []
    while len(texts) < count:
        letters = "".join(random.sample(ALPHABETS, random.randint(1, 3))) + " "
        text = "".join(random.choice(letters) for _ in range(random.randint(1, 40)))
        if not text.startswith(" ") and not any(special in text for special in ("<s>", "</s>", "<unk>")):
            texts.append(text)
    return texts


# --- logits ----------------------------------------------------------------------------------------------------------


def compare_logits(model: Path, llama: LlamaModel, limit: int | None) -> dict[str, Any]:
    """Distances over the first `limit` held-out texts, each cut to the context."""
    import torch

    torch.set_num_threads(1)
    source, tokenizer = load_model(model), load_tokenizer(model)
    texts = [sample.text for sample in read_texts(PILOT / "heldout" / "text.jsonl")][:limit]
    largest = distance = kl = 0.0
    other_top = positions = 0
    for text in texts:
        ids = list(tokenizer(text)["input_ids"])[: llama.context_tokens]
        with torch.inference_mode():
            theirs = source(input_ids=torch.tensor([ids])).logits[0].numpy()
        ours = llama.logits(ids)
        distance = max(distance, float(np.abs(ours - theirs).max()))
        largest = max(largest, float(np.abs(theirs).max()))
        p, q = log_softmax(theirs), log_softmax(ours)
        kl += float((np.exp(p) * (p - q)).sum())
        other_top += int((theirs.argmax(axis=1) != ours.argmax(axis=1)).sum())
        positions += len(ids)
    return {
        "positions": positions,
        "largest_logit": largest,
        "largest_logit_difference": distance,
        "share_of_largest_logit": distance / largest,
        "mean_kl_nats": max(0.0, kl / positions),
        "other_top_tokens": other_top,
    }


def show(models: dict[str, dict[str, Any]], differing: Sequence[tuple[str, str, str, list[int], list[int]]]) -> None:
    names = [name for name in next(iter(models.values())) if name != "different"]
    print_table(
        ["the converted file against the source", *models],
        [[name.replace("_", " "), *(one[name] for one in models.values())] for name in names],
    )
    if differing:
        print()
        rows = [
            (f"{model}, {kind}", repr(text[:40]), str(theirs[:8]), str(ours[:8]))
            for model, kind, text, theirs, ours in differing
        ]
        print_table(("read differently", "text", "transformers", "llama.cpp"), rows)


if __name__ == "__main__":
    sys.exit(main())
