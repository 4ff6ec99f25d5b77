"""A model folder as one file, `NAME.tar`: one name, one digest, so that it is stored, packed and verified like any other artifact.

Its bytes depend on the names and contents of its files and on nothing else.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from quantplay.engines.tarball import files_below, unpack_tar, write_files
from quantplay.engines.whole_file import require_space, written_whole
from quantplay.errors import InputError

SUFFIX = ".tar"
TOP = "model"  # the one folder in the archive


def write_model_file(folder: Path, out: Path, files: Mapping[str, Path] | None = None) -> None:
    """`folder` as the file `out`, whole or not at all. files: name in it -> file, where not all of it is meant.

    Raises OutOfSpace before anything is written where the disk is too full.
    """
    chosen = files_below(folder) if files is None else dict(files)
    require_space(out, sum(path.stat().st_size for path in chosen.values()))
    with written_whole(out) as partial:
        write_files(chosen, partial, TOP)


@contextmanager
def model_folder(model: Path) -> Iterator[Path]:
    """The folder of `model`: itself, or what the file holds, in a temporary folder that is gone at the end.

    Raises InputError where there is no such model, IntegrityError where the file is no archive of ours, OutOfSpace.
    """
    if model.is_dir():
        yield model
        return
    if not model.is_file():
        raise InputError("there is no such model", value=model, allowed=f"a folder, or a {SUFFIX} file that holds one")
    unpacked = Path(tempfile.mkdtemp(prefix="quantplay-model-"))
    try:
        require_space(unpacked / "model", model.stat().st_size)
        yield unpack_tar(model, unpacked)
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)
