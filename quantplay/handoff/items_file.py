"""items.parquet: one row an item and an arm, with question and expected answer beside the answer.

Written without times and without pandas, so equal items give equal bytes with one version of pyarrow.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from quantplay.errors import IntegrityError
from quantplay.handoff.contents import Questions
from quantplay.handoff.summaries import Items
from quantplay.records import Baseline, Evaluation, ItemResult

ARMS = ("source", "reference", "candidate")
MOST_ROWS = 20_000_000
MOST_UNPACKED_BYTES = 8 << 30  # refused before reading: a small file may claim to unpack to anything
BATCH_ROWS = 65_536


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
    """Read `path` back. Raises IntegrityError where it is no such file, or claims to be absurdly large."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            metadata = file.metadata
            unpacked = sum(metadata.row_group(index).total_byte_size for index in range(metadata.num_row_groups))
            if metadata.num_rows > MOST_ROWS or unpacked > MOST_UNPACKED_BYTES:
                raise unreadable(path, f"{metadata.num_rows} rows, {unpacked} bytes unpacked")
            names = [name for name, _ in _columns()]
            if file.schema_arrow.names != names:
                raise unreadable(path, f"columns {', '.join(file.schema_arrow.names)}")
            items: dict[str, list[ItemResult]] = {arm: [] for arm in ARMS}
            asked: dict[str, tuple[str | None, str | None]] = {}
            hardest: set[str] = set()
            for batch in file.iter_batches(batch_size=BATCH_ROWS):
                for row in batch.to_pylist():
                    prompt, answer, arm = row.pop("prompt"), row.pop("answer"), row.pop("arm")
                    if row.pop("hardest"):
                        hardest.add(row["id"])
                    items[arm].append(ItemResult.model_validate(row))
                    if asked.setdefault(row["id"], (prompt, answer)) != (prompt, answer):
                        raise unreadable(path, f"item {row['id']} was asked differently of two arms")
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise unreadable(path, str(error)) from error
    return ItemsFile({arm: tuple(rows) for arm, rows in items.items()}, asked, frozenset(hardest))


def unreadable(path: Path, found: str) -> IntegrityError:
    return IntegrityError(f"{path.name} can't be used as a package's item results", value=found)
