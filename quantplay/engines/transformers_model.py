"""A model folder into transformers: safetensors only, no code from the folder, no network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantplay.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

DTYPES = ("float32", "float16", "bfloat16")


def load_model(folder: Path, *, dtype: str = "float32", quantization: Any = None) -> PreTrainedModel:
    """The causal language model in `folder`, on the CPU, ready for inference.

    quantization: one of transformers' configurations, for a method that quantizes while it loads.
    Raises InputError when transformers does not know the architecture, the weights do not fit the configuration, or a
    tensor is missing or left over: transformers itself would only warn, and fill it with random numbers or drop it.
    """
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    if dtype not in DTYPES:
        raise InputError("unknown precision", value=dtype, allowed=", ".join(DTYPES))
    require_folder(folder)
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            str(folder),
            dtype=getattr(torch, dtype),
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
            **({"quantization_config": quantization} if quantization is not None else {}),  # None would be obeyed, too
            ignore_mismatched_sizes=True,  # they are listed by name, and refused below
        )
    except MemoryError:
        raise
    except Exception as error:  # safetensors and tokenizers raise plain Exception
        raise InputError(
            f"transformers can't load the model: {error}",
            value=folder,
            fix="check that config.json and the weights belong together and that transformers knows the architecture",
        ) from error
    finally:
        logging.set_verbosity(verbosity)
    model, report = loaded
    wrong = sorted(str(key) for kind in ("missing_keys", "mismatched_keys", "unexpected_keys") for key in report[kind])
    if wrong:
        raise InputError(
            "the weights do not fit config.json: tensors are missing, have another shape, or have no place in the model",
            value=", ".join(wrong),
            fix="use the config.json and the safetensors of the same model",
        )
    return model.eval()


def empty_model(folder: Path) -> PreTrainedModel:
    """The same model with no weights in memory: for its structure. Raises InputError on an architecture transformers does not know."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    require_folder(folder)
    try:
        config = AutoConfig.from_pretrained(str(folder), trust_remote_code=False, local_files_only=True)
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except Exception as error:  # transformers raises many kinds
        raise InputError(
            f"transformers does not know this model: {error}", value=folder,
            fix="check config.json and that transformers knows the architecture",
        ) from error  # fmt: skip


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer in `folder`. Raises InputError when there is none that transformers can load."""
    from transformers import AutoTokenizer

    require_folder(folder)
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False, local_files_only=True)
    except MemoryError:
        raise
    except Exception as error:
        raise InputError(
            f"transformers can't load the tokenizer: {error}",
            value=folder,
            allowed="tokenizer.json, tokenizer.model or vocab.json with merges.txt",
        ) from error
    if len(tokenizer) <= len(set(tokenizer.all_special_ids)):  # an empty SentencePiece file loads without a word
        raise InputError(
            "transformers can't load the tokenizer: it knows special tokens only",
            value=folder,
            fix="copy the tokenizer's files again; one of them is empty or damaged",
        )
    return tokenizer


def require_folder(folder: Path) -> None:
    # transformers takes any other text for a hub id and goes to the network
    if not folder.is_dir():
        raise InputError("there is no such model folder", value=folder)
