"""A source model's folder with trained weights in the place of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from quantplay.digest import digest_of_file
from quantplay.engines.tarball import files_below
from quantplay.errors import IntegrityError
from quantplay.quantizers.folder import hidden
from quantplay.records import Digest

WEIGHTS = "model.safetensors"
REPLACED = (".safetensors", ".safetensors.index.json")


@contextmanager
def trained_folder(model: Path, weights: Path, wanted: Digest, scratch: Path) -> Iterator[Path]:
    """A model folder of links: the source's configuration and tokenizer with the trained weights. Gone at the end.

    Raises IntegrityError where `weights` is not the file of digest `wanted`.
    """
    found = digest_of_file(weights) if weights.is_file() else "no such file"
    if found != wanted:
        raise IntegrityError(
            "these are not the trained weights the recipe names", value=f"{weights}: sha256 {found}", allowed=f"sha256 {wanted}",
            fix="restore them from the artifact store, or train again",
        )  # fmt: skip
    with TemporaryDirectory(prefix="trained-", dir=scratch) as name:
        (folder := Path(name) / "model").mkdir()
        for inside, path in files_below(model).items():
            if not hidden(inside) and not inside.endswith(REPLACED):
                (folder / inside).parent.mkdir(parents=True, exist_ok=True)
                (folder / inside).symlink_to(path.resolve())
        (folder / WEIGHTS).symlink_to(weights.resolve())
        yield folder
