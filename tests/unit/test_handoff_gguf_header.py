"""The GGUF header reader: agrees with the gguf package, and refuses what is malformed without reading past the end."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from factories import gguf_bytes
from hypothesis import given, settings
from hypothesis import strategies as st

from quantplay.errors import IntegrityError
from quantplay.handoff.gguf_header import metadata_text


def test_it_finds_a_text_behind_values_of_every_kind(tmp_path: Path) -> None:
    from gguf import GGUFValueType, GGUFWriter

    path = tmp_path / "model.gguf"
    writer = GGUFWriter(path, "llama")
    writer.add_uint8("a", 1)
    writer.add_float64("b", 0.5)
    writer.add_bool("c", val=True)
    writer.add_array("d", ["one", "two"])
    writer.add_array("e", [1, 2, 3])
    writer.add_key_value("f", -3, GGUFValueType.INT64)
    writer.add_string("quantplay.recipe", "würfel")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert metadata_text(path, "quantplay.recipe") == "würfel"
    assert metadata_text(path, "nothing") is None
    with pytest.raises(IntegrityError, match="no well-formed"):
        metadata_text(path, "a")


@settings(deadline=None)  # files on a busy disk
@given(cut=st.integers(0, 60), flip=st.tuples(st.integers(0, 60), st.integers(1, 255)))
def test_damage_is_an_integrity_error_or_another_text(
    tmp_path_factory: pytest.TempPathFactory, cut: int, flip: tuple[int, int]
) -> None:
    path = tmp_path_factory.mktemp("gguf") / "model.gguf"
    data = bytearray(gguf_bytes({"one": "two", "key": "value"}))
    data[flip[0] % len(data)] ^= flip[1]
    path.write_bytes(bytes(data[: len(data) - cut]))
    try:
        found = metadata_text(path, "key")
    except IntegrityError:
        return
    assert found is None or isinstance(found, str)


@pytest.mark.parametrize(
    "entries",
    [
        struct.pack("<Q", 1 << 63),  # a key of 2^63 bytes
        struct.pack("<Q", 1) + b"x" + struct.pack("<I", 99),  # no such kind of value
        struct.pack("<Q", 1) + b"x" + struct.pack("<IIQ", 9, 9, 1),  # an array of arrays
        struct.pack("<Q", 1) + b"x" + struct.pack("<IIQ", 9, 8, 1 << 60),  # an endless array
    ],
)
def test_absurd_sizes_are_refused(tmp_path: Path, entries: bytes) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + entries)
    with pytest.raises(IntegrityError):
        metadata_text(path, "key")
