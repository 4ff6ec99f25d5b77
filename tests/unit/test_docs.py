"""The documents hold: links lead somewhere, and every setting is described."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)")
CODE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def documents() -> list[Path]:
    """Markdown that is, or is about to be, committed: not what tools and environments leave in the folder."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", "*.md"]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if answer.returncode != 0:  # an unpacked archive: whatever is not hidden
        names = [path.relative_to(ROOT) for path in ROOT.rglob("*.md")]
        return sorted(ROOT / name for name in names if not any(part.startswith(".") for part in name.parts))
    return sorted(ROOT / name for name in answer.stdout.split("\0") if name and (ROOT / name).is_file())


def anchors(document: Path) -> set[str]:
    """The ids a Markdown renderer gives the headings of `document`."""
    text = CODE.sub("", document.read_text(encoding="utf-8"))
    titles = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def broken_links(document: Path, root: Path = ROOT) -> list[str]:
    faults = []
    for link in LINK.findall(CODE.sub("", document.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = unquote(link).partition("#")
        target = (document.parent / path).resolve() if path else document
        if not target.exists():
            faults.append(f"{link}: no such file")
        elif not target.is_relative_to(root):
            faults.append(f"{link}: leaves the project")
        elif anchor and target.suffix == ".md" and anchor not in anchors(target):
            faults.append(f"{link}: no such heading")
    return faults


def test_there_are_documents() -> None:
    assert {ROOT / "README.md", ROOT / "docs" / "README.md"} <= set(documents())


@pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_relative_link_resolves(document: Path) -> None:
    assert broken_links(document) == []


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    document.write_text(
        "# Title\n[a](missing.md) [b](#title) [c](#other) [d](https://example.com)\n```\n[e](no.md)\n```\n"
    )
    assert broken_links(document, tmp_path) == ["missing.md: no such file", "#other: no such heading"]


def test_every_page_of_docs_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    pages = [page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")]
    assert [page for page in pages if page != "README.md" and f"({page})" not in index] == []


def test_every_environment_variable_is_documented() -> None:
    source = (ROOT / "quantplay" / "settings.py").read_text(encoding="utf-8")
    read = set(re.findall(r"""(?:environ(?:\.get\(|\[)|read_\w+\()\s*["']([A-Z_]+)["']""", source))
    rows = set(
        re.findall(r"^\| `([A-Z_]+)` \|", (ROOT / "docs" / "settings.md").read_text(encoding="utf-8"), re.MULTILINE)
    )
    assert read, "settings.py reads no variable: has the way it reads them changed?"
    assert read == rows


def test_every_folder_of_infra_explains_itself() -> None:
    folders = [
        ROOT / "infra",
        *(path for path in (ROOT / "infra").iterdir() if path.is_dir() and path.name != "__pycache__"),
    ]
    assert [folder.name for folder in folders if not (folder / "README.md").is_file()] == []


def test_the_tree_in_the_readme_names_only_what_is_there() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    tree = re.search(r"^```text\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    assert tree is not None
    parents: list[str] = []
    for line in tree[1].splitlines():
        indent, name = re.match(r"( *)(\S+)", line).groups()  # type: ignore[union-attr]
        parents = [*parents[: len(indent) // 2], name]
        assert ROOT.joinpath(*parents).exists(), f"README.md names {'/'.join(parents)}, which does not exist"
