"""Packages made to do harm: archives that leave their folder, records that unpack to gigabytes. Refused, within bounded memory."""

from __future__ import annotations

import os
import shutil
import tarfile
import tempfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from factories import made_package
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quantplay import process
from quantplay.errors import OutOfSpace
from quantplay.handoff import apart
from quantplay.handoff.apart import memory_for, verify_apart
from quantplay.handoff.contents import PackageContents
from quantplay.handoff.manifest import manifest_of
from quantplay.handoff.pack import write_package
from quantplay.handoff.verify import VerifyReport, verify
from quantplay.records import PackageRef

ARCHIVE_MEMORY = 16 << 20  # bytes that reading any archive may take


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> PackageContents:
    return made_package(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def ref(contents: PackageContents, tmp_path_factory: pytest.TempPathFactory) -> PackageRef:
    return write_package(contents, tmp_path_factory.mktemp("packed") / "package")


@pytest.fixture
def folder(ref: PackageRef, tmp_path: Path) -> Path:
    return Path(shutil.copytree(ref.path, tmp_path / "package"))


def places(report: VerifyReport) -> str:
    return " | ".join(str(problem) for problem in report.problems)


# --- archives --------------------------------------------------------------------------------------------------------


@given(data=st.data())
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_byte_flipped_in_an_archive_is_found(ref: PackageRef, data: st.DataObject) -> None:
    whole = Path(str(ref.archive)).read_bytes()
    position = data.draw(st.integers(0, len(whole) - 1))
    flipped = whole[position] ^ data.draw(st.integers(1, 255))
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "package.tar"
        path.write_bytes(whole[:position] + bytes([flipped]) + whole[position + 1 :])
        report = verify(path)
        # A header's checksum may be written in several ways; those eight bytes say nothing else.
        assert not report.ok or 148 <= position % 512 < 156, f"byte {position} as {flipped}"
        assert [one.name for one in Path(temporary).iterdir()] == ["package.tar"]


@given(data=st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_truncated_archive_is_refused(ref: PackageRef, data: st.DataObject) -> None:
    whole = Path(str(ref.archive)).read_bytes()
    end = len(whole.rstrip(b"\0"))
    cut = data.draw(st.integers(0, end))
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "package.tar"
        path.write_bytes(whole[:cut])
        assert not verify(path).ok


@pytest.mark.parametrize(
    "rubbish", [b"x", b"\0" * 512 + b"x", b"PK\x03\x04", bytes(1 << 20) + b"x"], ids=["byte", "late", "zip", "far"]
)
def test_what_follows_the_end_of_an_archive_is_found(ref: PackageRef, tmp_path: Path, rubbish: bytes) -> None:
    path = tmp_path / "package.tar"
    path.write_bytes(Path(str(ref.archive)).read_bytes() + rubbish)
    assert "does not end as an archive does" in places(verify(path))


def test_an_archive_packed_by_tar_itself_is_accepted(ref: PackageRef, tmp_path: Path) -> None:
    """Other owners, times and folders' own entries are no reason to refuse it."""
    with tarfile.open(tmp_path / "package.tar", "w", format=tarfile.GNU_FORMAT) as archive:
        archive.add(ref.path, "package")
    report = verify(tmp_path / "package.tar", manifest_digest=ref.manifest)
    assert report.ok, places(report)


def member(name: str, kind: bytes, size: int) -> bytes:
    """A member's header alone, whatever it claims."""
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    return info.tobuf(tarfile.GNU_FORMAT)


def sparse_member(path: Path) -> Path:
    """A GNU sparse file of 2^60 bytes in no blocks at all."""
    header = bytearray(member("package/items.parquet", tarfile.GNUTYPE_SPARSE, 0))
    header[483:495] = tarfile.itn(1 << 60, 12, tarfile.GNU_FORMAT)
    header[148:156] = b" " * 8
    header[148:156] = f"{sum(header):06o}\0 ".encode()
    path.write_bytes(bytes(header) + bytes(1024))
    return path


def huge_member(path: Path) -> Path:
    path.write_bytes(member("package/items.parquet", tarfile.REGTYPE, 1 << 60) + bytes(1024))
    return path


def huge_name(path: Path) -> Path:
    """A long name of 512 MiB, for which the file has room because it is full of holes."""
    path.write_bytes(member("././@LongLink", tarfile.GNUTYPE_LONGNAME, 512 << 20))
    os.truncate(path, 600 << 20)
    return path


def huge_header(path: Path) -> Path:
    path.write_bytes(member("pax", tarfile.XHDTYPE, 512 << 20))
    os.truncate(path, 600 << 20)
    return path


def many_headers(path: Path) -> Path:
    """Extended headers of extended headers, which Python's tarfile reads by recursion."""
    body = b"20 comment=xxxxxxxx\n"
    path.write_bytes((member("pax", tarfile.XHDTYPE, len(body)) + body.ljust(512, b"\0")) * 5_000)
    return path


def compressed(path: Path) -> Path:
    import gzip

    path.write_bytes(gzip.compress(bytes(64 << 20)))
    return path


@pytest.mark.parametrize("make", [sparse_member, huge_member, huge_name, huge_header, many_headers, compressed])
def test_an_archive_that_claims_much_takes_little(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    path = make(tmp_path / "bomb.tar")
    tracemalloc.start()
    try:
        report = verify(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert not report.ok
    assert peak < ARCHIVE_MEMORY, peak
    assert list(tmp_path.iterdir()) == [path]


def test_an_archive_larger_than_the_disk_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = huge_member(tmp_path / "bomb.tar")
    os.truncate(path, 4 * shutil.disk_usage(tempfile.gettempdir()).free)
    with pytest.raises(OutOfSpace):
        verify(path)


# --- records ---------------------------------------------------------------------------------------------------------


def items_table(rows: int, response: pa.Array, **columns: pa.Array) -> pa.Table:
    """A table of the right form: `rows` rows, each with the one text in `response`."""

    def same(value: pa.Array) -> pa.DictionaryArray:
        return pa.DictionaryArray.from_arrays(pa.repeat(0, rows).cast(pa.int32()), value)

    def text(value: str) -> pa.DictionaryArray:
        return same(pa.array([value]))

    return pa.table(
        {
            "arm": text("source"), "id": text("a"), "slice": text("s"), "cluster": text("c"),
            "score": pa.repeat(1.0, rows), "graded": pa.repeat(False, rows), "response": same(response),
            "gold_loss_nats": pa.nulls(rows, pa.float64()), "hardest": pa.repeat(False, rows),
            "prompt": text("p"), "answer": text("q"),
        } | columns
    )  # fmt: skip


def write_bomb(folder: Path, table: pa.Table) -> int:
    """Put it where the items were; returns the file's size. The schema says plain text, as in our own files."""
    plain = [pa.field(one.name, pa.string() if pa.types.is_dictionary(one.type) else one.type) for one in table.schema]
    path = folder / "items.parquet"
    pq.write_table(table, path, compression="zstd", store_schema=False)
    assert pq.read_schema(path).equals(pa.schema(plain))
    (folder / "manifest.json").write_bytes(manifest_of(folder, "3f2a9c1e-5d07-4c5f-9b0e-6f0d2f1a7c11").to_bytes())
    return path.stat().st_size


def measured(folder: Path) -> tuple[VerifyReport, int]:
    """The report, and the most resident memory the check took."""
    payload = {"folder": str(folder), "named": str(folder), "options": {}, "memory_bytes": memory_for(folder)}
    outcome = process.run("quantplay.handoff.apart:verify_job", payload, threads=1)
    return apart.report_of(outcome.value), outcome.peak_resident_bytes


def test_a_small_file_of_one_long_text_repeated_is_refused(folder: Path) -> None:
    text = pa.array(["x" * (8 << 20)])
    size = write_bomb(folder, items_table(200_000, text))  # 1.6 TB when written out
    assert size < 100_000
    report, peak = measured(folder)
    assert "items.parquet" in {fault.where for fault in report.problems}
    assert "bytes together" in places(report)
    assert peak < 512 << 20


def test_one_giant_text_is_refused(folder: Path) -> None:
    size = write_bomb(folder, items_table(1, pa.array(["x" * (64 << 20)])))
    assert size < 100_000
    report, peak = measured(folder)
    assert "items.parquet" in {fault.where for fault in report.problems}
    assert peak < 1 << 30


def test_too_many_rows_are_refused_before_they_are_read(folder: Path) -> None:
    assert write_bomb(folder, items_table(7_000_000, pa.array(["x"]))) < 300_000
    report, peak = measured(folder)
    assert "7000000 rows" in places(report)
    assert peak < 512 << 20


def test_rows_that_would_take_all_memory_end_the_check_and_not_the_machine(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert write_bomb(folder, items_table(2_000_000, pa.array(["x"]))) < 200_000
    monkeypatch.setattr(apart, "LEAST_MEMORY_BYTES", 2 << 30)
    report = verify_apart(folder)
    assert "memory" in places(report)
    assert not report.ok


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("recipe.json", b"[" * 5_000_000),
        ("recipe.json", b'{"seed":' * 2_000_000),
        ("attempts.json", b"[" + b"[]," * 8_000_000 + b"[]]"),
        ("run.json", b"1" * 10_000_000),
        ("inputs.json", b" " * (40 << 20)),
        ("plan.yaml", b"a: &a [x,x,x,x]\nb: &b [*a,*a,*a,*a]\nc: [*b,*b,*b,*b]\n" + b"#" * 1000),
        ("plan.yaml", b"x: " + b"[" * 100_000),
        ("environment.txt", b"\xff" * 1000),
        ("evaluation.json", b'{"record": {"a": ' + b"9" * 5000 + b"}}"),
    ],
)
def test_absurd_text_files_are_refused_by_name(folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)
    (folder / "manifest.json").write_bytes(manifest_of(folder, "3f2a9c1e-5d07-4c5f-9b0e-6f0d2f1a7c11").to_bytes())
    report, peak = measured(folder)
    assert any(fault.where.startswith(name) for fault in report.problems), places(report)
    assert peak < 1 << 30


def test_an_absurd_manifest_is_refused(folder: Path) -> None:
    for content in (b"[" * 1_000_000, b"1" * 100_000, b"{}", b"null", b" " * (17 << 20), b"\xff\xfe"):
        (folder / "manifest.json").write_bytes(content)
        report, peak = measured(folder)
        assert [fault.where for fault in report.problems] == ["manifest.json"]
        assert peak < 512 << 20


def test_a_check_that_crashes_is_a_fault_of_the_package(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "memory_for", lambda _: 64 << 20)  # too little even for the libraries
    report = verify_apart(folder)
    assert not report.ok
    assert "memory" in places(report)
