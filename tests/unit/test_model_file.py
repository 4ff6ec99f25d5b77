from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest

from quantplay.engines.model_file import model_folder, write_model_file
from quantplay.errors import InputError, IntegrityError
from quantplay.plays.alone import runtime_for


def made(folder: Path, *, at: int = 0) -> Path:
    folder.mkdir()
    for name, text in (("config.json", "{}"), ("model.safetensors", "weights" * 300)):
        (folder / name).write_text(text)
        os.utime(folder / name, (at, at))
    return folder


def test_the_same_files_give_the_same_bytes_whenever_and_wherever(tmp_path: Path) -> None:
    write_model_file(made(tmp_path / "one", at=1), tmp_path / "one.tar")
    write_model_file(made(tmp_path / "two", at=2_000_000_000), tmp_path / "two.tar")
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()


def test_a_model_comes_back_as_it_was_and_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = made(tmp_path / "model")
    write_model_file(folder, tmp_path / "model.tar")
    with model_folder(tmp_path / "model.tar") as opened:
        assert {path.name: path.read_bytes() for path in opened.iterdir()} == {
            path.name: path.read_bytes() for path in folder.iterdir()
        }
    assert not opened.exists()
    with model_folder(folder) as itself:
        assert itself == folder
    assert folder.is_dir()


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such model"), model_folder(tmp_path / "nothing.tar"):
        pass
    (tmp_path / "text.tar").write_text("text")
    with pytest.raises(IntegrityError), model_folder(tmp_path / "text.tar"):
        pass
    with tarfile.open(tmp_path / "out.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("model/../../outside"))
    with pytest.raises(IntegrityError, match="leaves its folder"), model_folder(tmp_path / "out.tar"):
        pass


def test_an_artifact_of_a_folder_is_evaluated_in_transformers_alone(tmp_path: Path) -> None:
    write_model_file(made(tmp_path / "model"), tmp_path / "model.tar")
    assert runtime_for(tmp_path / "model.tar", None) == "transformers"
    with pytest.raises(InputError, match="can't load this model"):
        runtime_for(tmp_path / "model.tar", "llama.cpp")
