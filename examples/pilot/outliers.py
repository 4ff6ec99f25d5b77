"""Give the pilot the outlier channels of larger models: `python examples/pilot/outliers.py`, once, after training.

In a Llama some channels can be scaled up where they are made and scaled down where they are read: a norm's weight against the columns of
the matrices behind it, rows of the value projection against columns of the attention output, rows of the up projection against columns of
the down projection. Every factor is a power of two, so that nothing is rounded and full precision gives the same logits, bit for bit.
What is read unevenly is hard to quantize: weights that share a scale differ by the factors, and so do the activations they meet.
How uneven differs from place to place, as it does in larger models.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
HEADS_PER_KEY_VALUE_HEAD, HEAD = 2, 64
MARK = "outlier_channels"  # in the safetensors' metadata, so that it is done once


def factors(generator: Any, channels: int, spread: float) -> Any:
    """Powers of two, (channels,), whose exponents are normal with `spread` as their standard deviation."""
    import torch

    return torch.exp2(torch.round(spread * torch.randn(channels, generator=generator)))


def rescale(tensors: dict[str, Any], spreads: tuple[float, ...], seed: int) -> None:
    """Change `tensors` in place; each place of each block draws one of `spreads`."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    blocks = 1 + max(int(name.split(".")[2]) for name in tensors if name.startswith("model.layers."))
    for block in range(blocks):
        layer = f"model.layers.{block}."
        places = (
            (f"{layer}input_layernorm", [f"{layer}self_attn.{name}_proj" for name in "qkv"]),
            (f"{layer}post_attention_layernorm", [f"{layer}mlp.gate_proj", f"{layer}mlp.up_proj"]),
            (f"{layer}self_attn.v_proj", [f"{layer}self_attn.o_proj"]),
            (f"{layer}mlp.up_proj", [f"{layer}mlp.down_proj"]),
        )
        for maker, readers in places:
            made = tensors[f"{maker}.weight"]
            spread = spreads[int(torch.randint(len(spreads), (), generator=generator))]
            factor = factors(generator, made.shape[0], spread)
            made /= factor if made.dim() == 1 else factor[:, None]
            if maker.endswith("v_proj"):  # each key-value head is read by several query heads
                factor = factor.view(-1, 1, HEAD).expand(-1, HEADS_PER_KEY_VALUE_HEAD, HEAD).flatten()
            for reader in readers:
                tensors[f"{reader}.weight"] *= factor


def main(folder: Path, spreads: tuple[float, ...], seed: int) -> None:
    from safetensors import safe_open
    from safetensors.torch import save_file

    path = folder / "model.safetensors"
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dictionary
    if MARK in metadata:
        raise SystemExit(f"{path} has its outlier channels already")
    rescale(tensors, spreads, seed)
    save_file(tensors, path, metadata={**metadata, MARK: f"{spreads} {seed}"})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=HERE / "model")
    parser.add_argument("--spreads", type=float, nargs="+", default=(0.75, 1.0))
    parser.add_argument("--seed", type=int, default=3)
    a = parser.parse_args()
    main(a.model, tuple(a.spreads), a.seed)
