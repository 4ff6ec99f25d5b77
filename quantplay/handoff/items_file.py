"""items.parquet: one row an item and an arm, with question and expected answer beside the answer.

Written without times and without pandas, so equal items give equal bytes with one version of pyarrow.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from quantplay.errors import IntegrityError
from quantplay.handoff.contents import Questions
from quantplay.handoff.summaries import Items
from quantplay.records import Baseline, Evaluation, ItemResult

ARMS = ("source", "reference", "candidate")
MOST_ROWS = 6_000_000
MOST_UNPACKED_BYTES = 1 << 30  # of all texts together, and of what the file says of itself
LONGEST_TEXT_BYTES = 16 << 20
BATCH_ROWS = 65_536  # as written; a group of rows is compressed by itself
READ_ROWS = 4_096


def write_items(path: Path, baseline: Baseline, evaluation: Evaluation, questions: Questions) -> None:
    """Columns: arm, id, slice, cluster, score, graded, response, gold_loss_nats, hardest, prompt, answer.

    `prompt` and `answer` are null for items of the team's own task files. Rows keep the order of each arm.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    arms = {"source": baseline.source, "reference": baseline.reference, "candidate": evaluation.candidate}
    hardest = set(baseline.hardest)
    rows: dict[str, list[Any]] = {name: [] for name, _ in _columns()}
    for arm, run in arms.items():
        for item in run.items:
            question = questions.get(item.id)
            rows["arm"].append(arm)
            for name, value in item.body().items():
                rows[name].append(value)
            rows["hardest"].append(item.id in hardest)
            rows["prompt"].append(question.prompt if question else None)
            rows["answer"].append(question.answer if question else None)
    schema = pa.schema([pa.field(name, getattr(pa, kind)(), nullable=True) for name, kind in _columns()])
    pq.write_table(pa.table(rows, schema=schema), path, compression="zstd", row_group_size=BATCH_ROWS)


def _columns() -> tuple[tuple[str, str], ...]:
    """(name, pyarrow type) of every column."""
    return (
        ("arm", "string"), ("id", "string"), ("slice", "string"), ("cluster", "string"), ("score", "float64"),
        ("graded", "bool_"), ("response", "string"), ("gold_loss_nats", "float64"), ("hardest", "bool_"),
        ("prompt", "string"), ("answer", "string"),
    )  # fmt: skip


class ItemsFile:
    """What a package's items.parquet holds."""

    def __init__(self, items: Items, asked: dict[str, tuple[str | None, str | None]], hardest: frozenset[str]) -> None:
        self.items = items
        self.asked = asked  # item id -> (prompt, expected answer)
        self.hardest = hardest  # ids marked as hardest


def read_items_file(path: Path) -> ItemsFile:
    """Read `path` back. Raises IntegrityError where it is no such file, or would unpack to something absurdly large.

    A file of some hundred bytes may hold millions of long texts, each stored once: texts stay shared while they are read, and
    are counted before anything is made of them.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    texts = [name for name, kind in _columns() if kind == "string"]
    try:
        with pq.ParquetFile(path, read_dictionary=texts) as file:
            metadata = file.metadata
            unpacked = sum(metadata.row_group(index).total_byte_size for index in range(metadata.num_row_groups))
            if metadata.num_rows > MOST_ROWS or unpacked > MOST_UNPACKED_BYTES:
                raise unreadable(path, f"{metadata.num_rows} rows, {unpacked} bytes unpacked")
            shared = pa.dictionary(pa.int32(), pa.string())
            wanted = [(name, shared if name in texts else getattr(pa, kind)()) for name, kind in _columns()]
            if not file.schema_arrow.equals(pa.schema(wanted)):
                raise unreadable(path, " ".join(str(file.schema_arrow).split()))
            items: dict[str, list[ItemResult]] = {arm: [] for arm in ARMS}
            asked: dict[str, tuple[str | None, str | None]] = {}
            hardest: set[str] = set()
            unpacked = 0
            for batch in file.iter_batches(batch_size=READ_ROWS, use_threads=False):
                unpacked += sum(text_bytes(path, batch.column(name)) for name in texts)
                if unpacked > MOST_UNPACKED_BYTES:
                    raise unreadable(path, f"texts of more than {MOST_UNPACKED_BYTES} bytes together")
                for row in rows_of(batch):
                    prompt, answer, arm = row.pop("prompt"), row.pop("answer"), row.pop("arm")
                    if row.pop("hardest"):
                        hardest.add(row["id"])
                    items[arm].append(ItemResult.model_validate(row))
                    if asked.setdefault(row["id"], (prompt, answer)) != (prompt, answer):
                        raise unreadable(path, f"item {row['id']} was asked differently of two arms")
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise unreadable(path, str(error)) from error
    return ItemsFile({arm: tuple(rows) for arm, rows in items.items()}, asked, frozenset(hardest))


def text_bytes(path: Path, column: Any) -> int:
    """Bytes of all texts of a dictionary-encoded column, repeated ones counted each time."""
    import pyarrow.compute as pc

    lengths = pc.binary_length(column.dictionary)  # type: ignore[attr-defined] - made when pyarrow is loaded
    if (longest := pc.max(lengths).as_py() or 0) > LONGEST_TEXT_BYTES:  # type: ignore[attr-defined]
        raise unreadable(path, f"a text of {longest} bytes")
    return pc.sum(lengths.take(column.indices)).as_py() or 0  # type: ignore[attr-defined]


def rows_of(batch: Any) -> Iterator[dict[str, Any]]:
    """Rows as dictionaries; equal texts are one object."""
    columns: dict[str, list[Any]] = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        if hasattr(column, "dictionary"):
            texts = column.dictionary.to_pylist()
            columns[name] = [None if index is None else texts[index] for index in column.indices.to_pylist()]
        else:
            columns[name] = column.to_pylist()
    for values in zip(*columns.values(), strict=True):
        yield dict(zip(columns, values, strict=True))


def unreadable(path: Path, found: str) -> IntegrityError:
    return IntegrityError(f"{path.name} can't be used as a package's item results", value=found)
