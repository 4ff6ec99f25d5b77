"""Train the pilot model from nothing on generated text: `python examples/pilot/train.py`.

A Llama of 2.5 M parameters (hidden 256, so that every row of every matrix is a multiple of 256 wide), packed rows with a
block-diagonal attention mask, loss weight 1 on answers and 0.1 on prompts, AdamW with a cosine schedule. Writes
model/ (config, tokenizer, safetensors), training-log.csv and training-curve.png. The evaluation prompts are never trained on.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import time
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from skills import FIELDS, FIRST_LESSONS, SLICES, Example, Generator, page, question_about
from tokenizer import train_tokenizer

HERE = Path(__file__).parent
ROW = 256  # tokens a packed row
PROMPT_WEIGHT = 0.1  # most of a prompt is random and can't be predicted
JOINED = 0.2  # chance that the next exchange follows in the same conversation
MIX = {"multi_step": 4, "instructions": 3, "output_format": 2, "long_context": 2, "edge_cases": 2}
LATER_MIX = {"multi_step": 5, "instructions": 2, "output_format": 1, "long_context": 5, "edge_cases": 1}
"""How often each skill comes: at first, and with --more, when the easy ones are learned."""


def questions_about_a_page(rng: Random) -> list[Example]:
    """A page and up to seven questions about it in one conversation: retrieval, more densely supervised."""
    lines, facts = page(rng)
    asked = rng.sample(list(facts), rng.choice((1, 5, 7)))
    if rng.random() < 0.3:
        asked.insert(rng.randint(0, len(asked)), rng.choice([field for field in FIELDS if field not in facts]))
    examples = [
        Example(prompt=question_about(field), answer=facts.get(field, "not given"), scorer="exact") for field in asked
    ]
    return [replace(examples[0], prompt=lines + examples[0].prompt), *examples[1:]]


def lessons(first: bool) -> dict[str, Generator]:
    return {**(FIRST_LESSONS if first else SLICES), "long_context": questions_about_a_page}


def held_out(folder: Path) -> set[str]:
    """Every prompt of the evaluation set: the model must not have seen one."""
    lines = [
        line
        for name in ("gate", "dev")
        for line in (folder / "evaluation" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    return {json.loads(line)["prompt"] for line in lines}


class Packer:
    """An endless stream of packed rows: tokens, loss weights, the example each token belongs to, its position in it."""

    def __init__(
        self, tokenizer: Any, seed: int, forbidden: set[str], lessons: dict[str, Generator], mix: dict[str, int]
    ) -> None:
        self.tokenizer, self.rng, self.forbidden, self.lessons = tokenizer, Random(seed), forbidden, lessons
        self.names = [name for name, weight in mix.items() for _ in range(weight)]
        self.newline: int = tokenizer.encode("a\nb", add_special_tokens=False)[-2]
        self.queue: list[tuple[list[int], list[float]]] = []

    def refill(self) -> None:
        """Queue 256 more exchanges: most alone, some joined to conversations as the desk's log keeps them."""
        exchanges: list[Example] = []
        joins: list[str] = []  # how an exchange relates to the one before: needs it, may follow it, or stands alone
        while len(exchanges) < 256:
            drawn = [e for e in self.lessons[self.rng.choice(self.names)](self.rng) if e.prompt not in self.forbidden]
            joins += ["needs" if i > 0 else "may" if self.rng.random() < JOINED else "alone" for i in range(len(drawn))]
            exchanges += drawn
        prompts = self.tokenizer([e.prompt for e in exchanges], add_special_tokens=False)["input_ids"]
        wholes = self.tokenizer([e.text for e in exchanges], add_special_tokens=False)["input_ids"]
        bos, eos, newline = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id, self.newline
        tokens, weights = [bos], [0.0]
        for prompt, whole, join in zip(prompts, wholes, joins, strict=True):
            assert whole[: len(prompt)] == prompt, "a prompt must end at a token boundary"
            if len(tokens) > 1:
                fits = len(tokens) + len(whole) + 2 <= ROW
                if join == "needs" and not fits:
                    continue
                if join != "alone" and fits:
                    tokens, weights = [*tokens[:-1], newline], [*weights[:-1], PROMPT_WEIGHT]
                else:
                    self.queue.append((tokens, weights))
                    tokens, weights = [bos], [0.0]
            tokens = [*tokens, *whole, eos]
            weights = [*weights, *[PROMPT_WEIGHT] * len(prompt), *[1.0] * (len(whole) - len(prompt) + 1)]
        self.queue.append((tokens, weights))
        self.rng.shuffle(self.queue)

    def row(self) -> tuple[list[int], list[float], list[int], list[int]]:
        tokens: list[int] = []
        weights: list[float] = []
        owner: list[int] = []
        position: list[int] = []
        count = 0
        while True:
            if not self.queue:
                self.refill()
            fitting = next((i for i, (t, _) in enumerate(self.queue[:16]) if len(tokens) + len(t) <= ROW), None)
            if fitting is None:
                break
            example, example_weights = self.queue.pop(fitting)
            count += 1
            tokens += example
            weights += example_weights
            owner += [count] * len(example)
            position += range(len(example))
        padding = ROW - len(tokens)
        return tokens + [0] * padding, weights + [0.0] * padding, owner + [0] * padding, position + [0] * padding


def build_model(tokenizer: Any) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=256,
            intermediate_size=512,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=512,
            rope_theta=10_000.0,
            tie_word_embeddings=True,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            initializer_range=0.04,  # the usual 0.02 is meant for wider models: heads that look things up form later
            attn_implementation="sdpa",
        )
    )


def learning_rate(step: int, progress: float, peak: float) -> float:
    """Rises over the first 50 steps, falls as a cosine to a fiftieth; `progress`: share of the training that is done."""
    rise = min(1.0, (step + 1) / 50)
    return peak * rise * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))


def score_dev(model: Any, tokenizer: Any, folder: Path, items: int) -> dict[str, float]:
    """Share of dev answers reproduced exactly, a slice, greedy, without batching tricks: for the log only."""
    import torch

    rows = [json.loads(line) for line in (folder / "evaluation" / "dev.jsonl").read_text(encoding="utf-8").splitlines()]
    right: dict[str, list[bool]] = {name: [] for name in SLICES}
    tokenizer.padding_side = "left"
    model.eval()
    for name in SLICES:
        chosen = [row for row in rows if row["slice"] == name][:items]
        for start in range(0, len(chosen), 32):
            batch = chosen[start : start + 32]
            inputs = tokenizer([row["prompt"] for row in batch], return_tensors="pt", padding=True)
            with torch.no_grad():
                out = model.generate(
                    input_ids=inputs["input_ids"],
                    attention_mask=inputs["attention_mask"],
                    max_new_tokens=64,
                    do_sample=False,
                    pad_token_id=0,
                )
            texts = tokenizer.batch_decode(out[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
            right[name] += [t.split("\n")[0].strip() == row["answer"] for t, row in zip(texts, batch, strict=True)]
    model.train()
    return {name: sum(values) / max(1, len(values)) for name, values in right.items()}


def train(
    folder: Path,
    *,
    more: bool,
    steps: int,
    seconds: float,
    rows: int,
    peak: float,
    seed: int,
    threads: int,
    every: int,
    bf16: bool,
) -> None:
    """more: go on from the model in `folder` with the skills as they are asked; otherwise begin anew, with the first lessons."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    model_folder = folder / "model"
    if not more:
        train_tokenizer(model_folder)
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    tokenizer.pad_token_id = 0
    model = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32) if more else build_model(tokenizer)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters, vocabulary {len(tokenizer)}", flush=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=peak, betas=(0.9, 0.95), weight_decay=0.05)
    packer = Packer(tokenizer, seed, held_out(folder), lessons(first=not more), LATER_MIX if more else MIX)
    causal = torch.tril(torch.ones(ROW, ROW, dtype=torch.bool))
    log_path = folder / "training-log.csv"
    before = last_logged(log_path) if more else (0, 0)
    started, running, step, progress = time.perf_counter(), 0.0, 0, 0.0
    with log_path.open("a" if more else "w", newline="", encoding="utf-8") as file:
        log = csv.writer(file)
        if not more:
            log.writerow(["step", "seconds", "loss", *SLICES])
        while progress < 1:
            batch = [packer.row() for _ in range(rows)]
            tokens, weights, owner, position = (torch.tensor(column) for column in zip(*batch, strict=True))
            mask = (causal & (owner[:, :, None] == owner[:, None, :]))[:, None]
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, progress, peak)
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
                logits = model(input_ids=tokens, attention_mask=mask, position_ids=position, use_cache=False).logits
            losses = torch.nn.functional.cross_entropy(
                logits[:, :-1].float().reshape(-1, logits.shape[-1]), tokens[:, 1:].reshape(-1), reduction="none"
            )
            loss = (losses * weights[:, 1:].reshape(-1)).sum() / weights[:, 1:].sum()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            running = loss.item() if step == 0 else 0.95 * running + 0.05 * loss.item()
            step, elapsed = step + 1, time.perf_counter() - started
            progress = min(1.0, max(step / steps, elapsed / seconds))
            if step % every == 0 or progress == 1:
                scores = score_dev(model, tokenizer, folder, 160 if progress == 1 else 32)
                shown = [f"{scores[name]:.4f}" for name in SLICES]
                row = [before[0] + step, f"{before[1] + elapsed:.0f}", f"{running:.5f}", *shown]
                log.writerow(row)
                file.flush()
                print(*row, flush=True)
                save(model, tokenizer, model_folder)


def last_logged(path: Path) -> tuple[int, int]:
    """Steps and seconds so far."""
    with path.open(encoding="utf-8") as file:
        *_, last = csv.DictReader(file)
    return int(last["step"]), int(last["seconds"])


def save(model: Any, tokenizer: Any, folder: Path) -> None:
    model.generation_config.pad_token_id = None
    model.save_pretrained(folder)


def draw_curve(folder: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    with (folder / "training-log.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    steps = [int(row["step"]) for row in rows]
    left.plot(steps, [float(row["loss"]) for row in rows])
    left.set(xlabel="step", ylabel="loss (answers 1, prompts 0.1)", yscale="log")
    for name in SLICES:
        right.plot(steps, [100 * float(row[name]) for row in rows], label=name)
    right.set(xlabel="step", ylabel="dev answers right, %")
    right.legend()
    figure.savefig(folder / "training-curve.png", dpi=110)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=HERE)
    parser.add_argument(
        "--more",
        action="store_true",
        help="go on from model/ with the skills as they are asked, after the first lessons",
    )
    parser.add_argument("--steps", type=int, default=1900)
    parser.add_argument(
        "--seconds",
        type=float,
        default=math.inf,
        help="end after this long; the learning rate then falls with the time",
    )
    parser.add_argument("--rows", type=int, default=24, help="packed rows of 256 tokens a step")
    parser.add_argument("--peak", type=float, default=2e-3, help="highest learning rate")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--every", type=int, default=150, help="steps between dev scores")
    parser.add_argument(
        "--bf16", action="store_true", help="bfloat16 autocast, about twice as fast where the CPU has it"
    )
    a = parser.parse_args()
    train(**vars(a))
    draw_curve(a.folder)
