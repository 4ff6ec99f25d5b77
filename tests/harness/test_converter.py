from __future__ import annotations

import io
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from quantize_models import save_random_llama
from safetensors.numpy import load_file

from quantplay.digest import digest_of_file
from quantplay.engines.converter import Converter, convert, ensure_converter, ensure_sdist, installed_pin
from quantplay.engines.unpack import digest_of_tree, unpack
from quantplay.engines.whole_file import require_space, written_whole
from quantplay.errors import InputError, IntegrityError, MissingDependency, OutOfSpace
from quantplay.settings import settings

INSIDE = "llama_cpp_python-9/vendor/llama.cpp/"


@pytest.fixture(scope="module")
def converter() -> Converter:
    return ensure_converter(settings().cache)


@pytest.fixture
def offline_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with nothing but the source distribution, and a pip that may not use a network."""
    sdist = ensure_sdist(settings().cache, *installed_pin())
    folder = tmp_path / "a cache"
    (folder / "sdist").mkdir(parents=True)
    (folder / "sdist" / sdist.name).symlink_to(sdist)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    return folder


def test_a_downloaded_sdist_is_enough_and_a_damaged_tree_is_unpacked_again(offline_cache: Path) -> None:
    first = ensure_converter(offline_cache)
    assert sorted(path.name for path in first.path.iterdir()) == ["conversion", "convert_hf_to_gguf.py", "gguf-py"]
    assert digest_of_tree(first.path) == first.digest
    (first.path / "convert_hf_to_gguf.py").write_text("print('something else')")
    (first.path / "gguf-py" / "sitecustomize.py").write_text("print('smuggled in')")
    again = ensure_converter(offline_cache)
    assert digest_of_tree(again.path) == first.digest
    assert [path.name for path in first.path.parent.iterdir()] == [first.path.name]


def test_a_link_in_the_tree_is_noticed(offline_cache: Path) -> None:
    first = ensure_converter(offline_cache)
    script = first.path / "convert_hf_to_gguf.py"
    script.rename(first.path.parent / "moved.py")
    script.symlink_to(first.path.parent / "moved.py")
    assert not ensure_converter(offline_cache).path.joinpath(script.name).is_symlink()


def test_without_a_network_the_error_holds_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    version, _ = installed_pin()
    (tmp_path / "sdist").mkdir()
    (tmp_path / "sdist" / f"llama_cpp_python-{version}.tar.gz").write_bytes(b"cut short")
    with pytest.raises(MissingDependency, match=r"pip download .*--no-binary llama-cpp-python") as caught:
        ensure_converter(tmp_path)
    assert str(tmp_path / "sdist") in str(caught.value.fix)
    assert not (tmp_path / "converter").exists()


def archive(path: Path, *members: tuple[str, bytes | tarfile.TarInfo]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members:
            if isinstance(content, tarfile.TarInfo):
                tar.addfile(content)
            else:
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
    return path


def special(name: str, kind: bytes, target: str = "") -> tuple[str, tarfile.TarInfo]:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, target
    return name, entry


SCRIPT = (f"{INSIDE}convert_hf_to_gguf.py", b"print()")


@pytest.mark.parametrize(
    "member",
    [
        (f"{INSIDE}conversion/../../../../../escaped.py", b"x"),
        (f"{INSIDE}gguf-py/..\\escaped.py", b"x"),
        special(f"{INSIDE}conversion/a.py", tarfile.SYMTYPE, "/etc/passwd"),
        special(f"{INSIDE}conversion/b.py", tarfile.LNKTYPE, f"{INSIDE}convert_hf_to_gguf.py"),
        special(f"{INSIDE}gguf-py/fifo", tarfile.FIFOTYPE),
        special(f"{INSIDE}gguf-py/device", tarfile.CHRTYPE),
    ],
    ids=lambda member: member[0].removeprefix(INSIDE),
)
def test_a_hostile_archive_is_refused(tmp_path: Path, member: tuple[str, bytes | tarfile.TarInfo]) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(IntegrityError):
        unpack(archive(tmp_path / "a.tar.gz", SCRIPT, member), tmp_path / "in")
    assert {path.name for path in tmp_path.rglob("*")} <= {"in", "a.tar.gz", "convert_hf_to_gguf.py"}


def test_only_the_converter_is_taken(tmp_path: Path) -> None:
    others = [
        (f"{INSIDE}convert_hf_to_gguf.py.bak", b"x"), (f"{INSIDE}src/conversion/a.py", b"x"), (f"{INSIDE}Makefile", b"x"),
        ("llama_cpp_python-9/gguf-py/a.py", b"x"), special("llama_cpp_python-9/link", tarfile.SYMTYPE, "/etc"),
        special(f"{INSIDE}gguf-py", tarfile.SYMTYPE, "/etc"),
    ]  # fmt: skip
    (tmp_path / "in").mkdir()
    unpack(archive(tmp_path / "a.tar.gz", *others, SCRIPT, (f"{INSIDE}gguf-py/gguf/b.py", b"x")), tmp_path / "in")
    found = {path.relative_to(tmp_path / "in").as_posix() for path in (tmp_path / "in").rglob("*") if path.is_file()}
    assert found == {"convert_hf_to_gguf.py", "gguf-py/gguf/b.py"}


@pytest.mark.parametrize("content", [b"", b"no archive", None])
def test_a_broken_archive_is_an_integrity_error(tmp_path: Path, content: bytes | None) -> None:
    path = archive(tmp_path / "a.tar.gz", ("else/README", b"x"))
    if content is not None:
        path.write_bytes(content)
    (tmp_path / "in").mkdir()
    with pytest.raises(IntegrityError):
        unpack(path, tmp_path / "in")


@pytest.mark.slow
def test_the_bytes_depend_on_the_files_alone(
    converter: Converter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gguf

    model = save_random_llama(tmp_path / "support desk v2")
    convert(converter, model, tmp_path / "one.gguf")
    # What the user's environment could change, does not.
    (tmp_path / "poison").mkdir()
    (tmp_path / "poison" / "gguf.py").write_text("raise SystemExit('imported from PYTHONPATH')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "poison"))
    moved = model.rename(tmp_path / "other-7B-chat")
    (moved / "modeling_llama.py").write_text("raise SystemExit('code of the model was run')")
    convert(converter, moved, tmp_path / "out" / "two.gguf")
    assert digest_of_file(tmp_path / "one.gguf") == digest_of_file(tmp_path / "out" / "two.gguf")
    assert digest_of_tree(converter.path) == converter.digest
    written = {tensor.name: tensor for tensor in gguf.GGUFReader(tmp_path / "one.gguf").tensors}
    source = load_file(moved / "model.safetensors")
    down = written["blk.0.ffn_down.weight"]
    assert down.tensor_type.name == "F32"
    np.testing.assert_array_equal(down.data, source["model.layers.0.mlp.down_proj.weight"])


@pytest.mark.slow
def test_half_precision(converter: Converter, tmp_path: Path) -> None:
    import gguf

    convert(converter, save_random_llama(tmp_path / "m"), tmp_path / "half.gguf", outtype="bf16")
    kinds = {tensor.name: tensor.tensor_type.name for tensor in gguf.GGUFReader(tmp_path / "half.gguf").tensors}
    assert kinds["blk.0.attn_q.weight"] == "BF16"
    assert kinds["output_norm.weight"] == "F32"


@pytest.mark.slow
def test_an_unknown_architecture_is_named_and_the_older_file_stays(converter: Converter, tmp_path: Path) -> None:
    model = save_random_llama(tmp_path / "m")
    config = (model / "config.json").read_text().replace("LlamaForCausalLM", "NobodysForCausalLM")
    (model / "config.json").write_text(config)
    (tmp_path / "out.gguf").write_bytes(b"older")
    with pytest.raises(InputError, match="NobodysForCausalLM") as caught:
        convert(converter, model, tmp_path / "out.gguf")
    assert len(str(caught.value).splitlines()) < 20
    assert (tmp_path / "out.gguf").read_bytes() == b"older"
    assert {path.name for path in tmp_path.iterdir()} == {"m", "out.gguf"}


def test_a_folder_without_weights_is_refused(converter: Converter, tmp_path: Path) -> None:
    model = save_random_llama(tmp_path / "m")
    shutil.move(model / "model.safetensors", model / "pytorch_model.bin")
    with pytest.raises(InputError, match="no safetensors"):
        convert(converter, model, tmp_path / "out.gguf")


def test_files_appear_whole_or_not_at_all(tmp_path: Path) -> None:
    out = tmp_path / "new" / "file.bin"
    with pytest.raises(FileNotFoundError), written_whole(out) as partial:
        partial.write_bytes((tmp_path / "missing").read_bytes())
    assert list(out.parent.iterdir()) == []
    with written_whole(out) as partial:
        partial.write_bytes(b"whole")
        assert not out.exists()
    assert out.read_bytes() == b"whole"
    assert [path.name for path in out.parent.iterdir()] == ["file.bin"]


def test_too_little_space_is_known_before_the_work(tmp_path: Path) -> None:
    require_space(tmp_path / "a" / "b.gguf", 1)
    with pytest.raises(OutOfSpace, match="MiB needed"):
        require_space(tmp_path / "a" / "b.gguf", 2**62)


def test_a_folder_that_is_a_file_can_not_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="can't write"), written_whole(tmp_path / "file" / "out"):
        pass
