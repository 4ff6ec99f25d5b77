"""Train one of the benchmark models on the corpus: `python benchmarks/trained/train.py NAME --corpus FOLDER --out FOLDER`.

Ten minutes of one CPU core with bfloat16 instructions are enough for a perplexity far below the unigram perplexity of the same text;
both are written to figures.json, beside model.safetensors (bfloat16), config.json and the tokenizer.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import time
from pathlib import Path
from typing import Any

ROW = 256  # tokens
WARMUP = 40  # steps


def build(name: str, vocabulary: int) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM, MixtralConfig, MixtralForCausalLM

    shared = {
        "vocab_size": vocabulary, "hidden_size": 256, "num_attention_heads": 4, "max_position_embeddings": 512,
        "bos_token_id": 1, "eos_token_id": 2, "initializer_range": 0.04, "attn_implementation": "sdpa",
    }  # fmt: skip
    if name == "grouped":  # query heads share key-value heads, embedding and output are one
        return LlamaForCausalLM(LlamaConfig(
            **shared, intermediate_size=256, num_hidden_layers=16, num_key_value_heads=2, tie_word_embeddings=True))  # fmt: skip
    if name == "untied":  # a key-value head for each query head, an output matrix of its own
        return LlamaForCausalLM(LlamaConfig(
            **shared, intermediate_size=256, num_hidden_layers=16, num_key_value_heads=4, tie_word_embeddings=False))  # fmt: skip
    assert name == "experts", name
    return MixtralForCausalLM(MixtralConfig(
        **shared, intermediate_size=256, num_hidden_layers=4, num_key_value_heads=2, tie_word_embeddings=False,
        num_local_experts=4, num_experts_per_tok=2, router_aux_loss_coef=0.01, output_router_logits=True))  # fmt: skip


def unigram_perplexity(train: Any, heldout: Any, vocabulary: int) -> float:
    """Of the held-out tokens under the training tokens' frequencies, each counted once more than seen."""
    import numpy as np

    counts = np.bincount(train, minlength=vocabulary) + 1.0
    return float(np.exp(-np.log(counts[heldout] / counts.sum()).mean()))


def perplexity(model: Any, heldout: Any, device: str) -> float:
    import torch

    rows = torch.from_numpy(heldout[: len(heldout) // ROW * ROW].astype("int64")).view(-1, ROW)
    total = count = 0.0
    model.eval()
    with torch.no_grad(), torch.autocast(device, dtype=torch.bfloat16):
        for part in rows.split(16):
            part = part.to(device)
            logits = model(
                input_ids=part, use_cache=False, **({"output_router_logits": False} if is_moe(model) else {})
            ).logits
            losses = torch.nn.functional.cross_entropy(
                logits[:, :-1].float().flatten(0, 1), part[:, 1:].flatten(), reduction="sum"
            )
            total, count = total + losses.item(), count + part[:, 1:].numel()
    model.train()
    return math.exp(total / count)


def is_moe(model: Any) -> bool:
    return hasattr(model.config, "num_local_experts")


def learning_rate(step: int, progress: float, peak: float) -> float:
    """Rises over the first steps, then falls as a cosine to a fiftieth; `progress`: share of the training that is done."""
    rise = min(1.0, (step + 1) / WARMUP)
    return peak * rise * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))


def train(a: argparse.Namespace) -> None:
    import numpy as np
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(a.seed)
    torch.set_num_threads(a.threads)
    tokens, heldout = np.load(a.corpus / "train.npy"), np.load(a.corpus / "heldout.npy")
    vocabulary = -(-(int(max(tokens.max(), heldout.max())) + 1) // 256) * 256
    model = build(a.name, vocabulary).to(device)
    print(a.name, f"{sum(p.numel() for p in model.parameters()):,} parameters", flush=True)
    data = torch.from_numpy(tokens.astype("int64")).to(device)
    optimizer = torch.optim.AdamW(
        [{"params": [p for p in model.parameters() if p.dim() > 1], "weight_decay": 0.1},
         {"params": [p for p in model.parameters() if p.dim() <= 1], "weight_decay": 0.0}],
        lr=a.peak, betas=(0.9, 0.95), fused=True,
    )  # fmt: skip
    started, step, progress, log = time.perf_counter(), 0, 0.0, []
    offsets = torch.arange(ROW, device=device)
    while progress < 1:
        starts = torch.randint(0, len(data) - ROW, (a.rows, 1), device=device)
        batch = data[starts + offsets]
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, progress, a.peak)
        with torch.autocast(device, dtype=torch.bfloat16):
            output = model(input_ids=batch, use_cache=False)
        loss = torch.nn.functional.cross_entropy(output.logits[:, :-1].float().flatten(0, 1), batch[:, 1:].flatten())
        if is_moe(model):
            loss = loss + model.config.router_aux_loss_coef * output.aux_loss
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step += 1
        seconds = time.perf_counter() - started
        progress = max(step / a.steps, seconds / a.seconds if a.seconds else 0.0)
        if step % a.every == 0 or progress >= 1:
            part = heldout if progress >= 1 else heldout[: 40 * ROW]
            log.append({"step": step, "seconds": round(seconds), "loss": round(loss.item(), 4),
                        "perplexity": round(perplexity(model, part, device), 3)})  # fmt: skip
            print(log[-1], flush=True)
    model.to("cpu", torch.bfloat16).save_pretrained(a.out)
    for file in sorted((a.corpus / "tokenizer").iterdir()):
        shutil.copyfile(file, a.out / file.name)
    figures = {
        "name": a.name, "parameters": sum(p.numel() for p in model.parameters()), "steps": step, "rows": a.rows,
        "row_tokens": ROW, "peak": a.peak, "seed": a.seed,
        "device": torch.cuda.get_device_name() if device == "cuda" else f"cpu, {a.threads} thread",
        "perplexity": log[-1]["perplexity"], "heldout_tokens": len(heldout) // ROW * ROW,
        "unigram_perplexity": round(unigram_perplexity(tokens, heldout, vocabulary), 3), "log": log,
    }  # fmt: skip
    (a.out / "figures.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(figures["perplexity"], "against unigram", figures["unigram_perplexity"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=("grouped", "untied", "experts"))
    parser.add_argument("--corpus", type=Path, required=True, help="the folder that corpus.py wrote")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=700)
    parser.add_argument("--rows", type=int, default=12, help="rows of 256 tokens a step")
    parser.add_argument("--peak", type=float, default=2e-3, help="highest learning rate")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--every", type=int, default=50, help="steps between looks at a part of the held-out text")
    parser.add_argument("--seconds", type=float, help="end after this long; the learning rate then falls with the time")
    train(parser.parse_args())
