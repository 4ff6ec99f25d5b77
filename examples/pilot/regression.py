"""New weights of the pilot with a regression to find: `python examples/pilot/regression.py FOLDER [--seed N]`.

FOLDER is the pilot's model once more, with outlier channels added at one place of one block, as a fine-tuning can leave them (see
outliers.py). Every factor is a power of two, so full precision gives the same logits, bit for bit; 4 bits do not. Which place it is
follows from the seed: docs/debugging.md finds it without reading this. `--answer` names it.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

from outliers import HERE, factors

BLOCKS = 4
SPREAD = 3.0


def place(seed: int) -> str:
    """The tensor that is read unevenly: the feed-forward part's second projection, of one block."""
    return f"model.layers.{seed % BLOCKS}.mlp.down_proj"


def spoil(tensors: dict[str, Any], seed: int) -> None:
    """Change `tensors` in place: rows of the up projection against columns of the down projection."""
    import torch

    read = place(seed)
    made = tensors[f"{read.replace('down', 'up')}.weight"]
    factor = factors(torch.Generator().manual_seed(seed), made.shape[0], SPREAD)
    made /= factor[:, None]
    tensors[f"{read}.weight"] *= factor


def main(folder: Path, seed: int) -> None:
    from safetensors.torch import load_file, save_file

    shutil.copytree(HERE / "model", folder, copy_function=shutil.copyfile)  # refuses what is there
    tensors = load_file(folder / "model.safetensors")
    spoil(tensors, seed)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    print(f"wrote {folder}: new weights, the same answers at full precision")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument("--answer", action="store_true", help="say where it is, and write nothing")
    a = parser.parse_args()
    if a.answer:
        print(place(a.seed))
    else:
        main(a.folder, a.seed)
