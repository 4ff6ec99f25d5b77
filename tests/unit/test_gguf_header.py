"""The header reader against gguf's own, and against files that are damaged: an answer or IntegrityError, nothing else."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quantplay.engines.gguf_header import GgufHeader, read_gguf_header
from quantplay.errors import IntegrityError

NOT_METADATA = ("GGUF.version", "GGUF.tensor_count", "GGUF.kv_count")
VOCABULARY = 6000


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every kind of metadata, a vocabulary, and tensors of several types and ranks."""
    path = tmp_path_factory.mktemp("gguf") / "model.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(3)
    writer.add_array("llama.attention.head_count", [4, 8, 8])
    writer.add_bool("some.flag", True)
    writer.add_float32("some.number", 0.5)
    writer.add_int64("some.count", -(1 << 40))
    writer.add_string("some.words", "straße")
    writer.add_custom_alignment(64)
    writer.add_token_list([f"token {number}" for number in range(VOCABULARY)])
    writer.add_token_scores([float(number) for number in range(VOCABULARY)])
    random = np.random.default_rng(0)
    for name, shape, kind in (
        ("norm.weight", (7,), "F32"),
        ("a.weight", (3, 64), "Q8_0"),
        ("b.weight", (2, 3, 32), "Q4_0"),
        ("c.weight", (5, 32), "F16"),
    ):
        values = random.standard_normal(shape).astype(np.float32)
        stored = gguf.GGMLQuantizationType[kind]
        writer.add_tensor(name, gguf.quants.quantize(values, stored), raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(scope="module")
def header(file: Path) -> GgufHeader:
    return read_gguf_header(file)


def test_it_reads_what_gguf_reads(file: Path, header: GgufHeader) -> None:
    reader = gguf.GGUFReader(file)
    expected = {
        tensor.name: (tuple(map(int, tensor.shape)), tensor.tensor_type.name, int(tensor.n_bytes))
        for tensor in reader.tensors
    }
    found = {name: (tensor.shape, tensor.kind, tensor.size_bytes) for name, tensor in header.tensors.items()}
    assert found == expected
    assert list(found) == list(expected)
    assert header.data_start == reader.data_offset
    fields = {name: field.contents() for name, field in reader.fields.items() if name not in NOT_METADATA}
    assert header.metadata == {
        name: value for name, value in fields.items() if name not in ("tokenizer.ggml.tokens", "tokenizer.ggml.scores")
    }
    del reader


def test_a_file_cut_anywhere_is_refused(file: Path, tmp_path: Path) -> None:
    whole, cut = file.read_bytes(), tmp_path / "cut.gguf"
    last = max(0, len(whole) - 300)
    for length in [*range(0, 400), *range(400, last, 4999), last, len(whole) - 65]:
        cut.write_bytes(whole[:length])
        with pytest.raises(IntegrityError, match="no complete GGUF"):
            read_gguf_header(cut)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 700), new=st.binary(min_size=1, max_size=9), from_end=st.booleans())
def test_damage_gives_an_answer_or_its_error(
    file: Path, header: GgufHeader, tmp_path: Path, place: int, new: bytes, from_end: bool
) -> None:
    damaged = bytearray(file.read_bytes())
    start = header.data_start - 1 - place if from_end else place
    damaged[start : start + len(new)] = new
    (tmp_path / "damaged.gguf").write_bytes(damaged)
    try:
        found = read_gguf_header(tmp_path / "damaged.gguf")
    except IntegrityError:
        return
    assert all(tensor.size_bytes <= len(damaged) for tensor in found.tensors.values())


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError):
        read_gguf_header(tmp_path / "nothing.gguf")
