"""Refuse weights that hold NaN or infinite values, by tensor name, before anything is computed from them."""

from __future__ import annotations

from pathlib import Path

from quantplay.errors import Fault, InputError


def require_finite_weights(model_folder: Path) -> None:
    """Read every tensor of the folder's safetensors files once. Raises InputError naming each tensor that is not finite."""
    import safetensors
    import torch

    faults = []
    for path in sorted(model_folder.glob("*.safetensors")):
        with safetensors.safe_open(path, framework="pt", device="cpu") as file:
            for name in sorted(file.keys()):
                tensor = file.get_tensor(name)
                if tensor.dtype.itemsize == 1 and tensor.is_floating_point():
                    tensor = tensor.float()
                if not tensor.is_floating_point():
                    continue
                bad = int((~torch.isfinite(tensor)).sum())
                if bad:
                    faults.append(
                        Fault(
                            where=f"{path.name}: {name}", what=f"{bad} of {tensor.numel()} values are NaN or infinite"
                        )
                    )
    if faults:
        raise InputError(
            f"the weights in {model_folder} are damaged",
            faults=faults,
            fix="save or download the model again; it can't be quantized",
        )
