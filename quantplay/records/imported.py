"""An artifact that was quantized elsewhere."""

from __future__ import annotations

from quantplay.records.base import Digest, Record
from quantplay.records.inputs import FileEntry


class Import(Record):
    """What an imported artifact says about itself, and what somebody says about it. Nothing here was measured."""

    sha256: Digest  # of the stored file; of a folder, of the archive made of it. The import's key
    name: str
    base: Digest  # content of the full-precision model it is said to be made from
    base_source: str  # where that model lay
    format: str  # gguf | gptq | awq | compressed-tensors
    type: str  # of formats.TYPES where that has it, else in the format's own words
    nominal_bits: int
    group_size: int  # weights that share a scale; 0: a whole row
    bits_per_weight: float  # 8 * tensor bytes / weights of the base model
    size_bytes: int  # of the stored file
    file_name: str
    files: tuple[FileEntry, ...]  # as they came
    tensors: dict[str, str]  # tensor name -> how it is stored
    full_precision: tuple[str, ...]  # matrices that are left unquantized
    words: dict[str, str]  # what was read where, in the file's own words
    origin: str  # where it comes from, in the words of who imported it; may be empty
    said_by: str
    at: str  # ISO 8601, UTC
