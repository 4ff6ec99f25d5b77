"""The documents as a site: `python infra/site/build.py [FOLDER]`, by default build/site.

Sphinx reads a copy of the repository's documents, where every page keeps its place and its links, with generated pages beside them.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(ROOT)]

from reference import write_reference  # noqa: E402 - a script's neighbour

LEFT_OUT = shutil.ignore_patterns(
    ".[!c]*", ".cache", "build", "dist", "*.egg-info", "__pycache__", "*.safetensors", "*.jsonl", "*.so"
)
TREE = """

```{{toctree}}
:hidden:
:caption: Begin
{begin}
```

```{{toctree}}
:hidden:
:caption: How things are
docs/README
{pages}
```

```{{toctree}}
:hidden:
:caption: Generated reference
{reference}
```

```{{toctree}}
:hidden:
:caption: Why they are so
{reasons}
```

```{{toctree}}
:hidden:
:caption: In the folders
{folders}
CHANGELOG
```
"""
BEGIN = ("docs/tutorial", "docs/plays", "docs/roles", "docs/debugging")


def stage(folder: Path) -> None:
    """Put what Sphinx reads into `folder`: a copy of what documents link to, and what is generated."""
    shutil.copytree(ROOT, folder, ignore=LEFT_OUT, dirs_exist_ok=True)
    reference = write_reference(folder / "reference")
    pages = sorted(page.relative_to(folder).with_suffix("").as_posix() for page in (folder / "docs").rglob("*.md"))
    reasons = [page for page in pages if page.startswith("docs/adr/")]
    readmes = sorted(folder.rglob("README.md"))
    folders = [
        page.relative_to(folder).with_suffix("").as_posix()
        for page in readmes
        if page.parent not in {folder, folder / "docs"}
    ]
    tree = TREE.format(
        begin="\n".join(BEGIN),
        pages="\n".join(page for page in pages if page not in {*BEGIN, "docs/README", *reasons}),
        reasons="\n".join(reasons),
        reference="\n".join(f"reference/{name}" for name in reference),
        folders="\n".join(folders),
    )
    with (folder / "README.md").open("a", encoding="utf-8") as start:
        start.write(tree)


def main() -> int:
    from sphinx.cmd.build import build_main

    target = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build" / "site"
    with tempfile.TemporaryDirectory(prefix="quantplay-site-") as staged:
        stage(Path(staged))
        left = build_main(
            [
                "-q",
                "-W",
                "--keep-going",
                "-j",
                "auto",
                "-c",
                str(HERE),
                "-d",
                f"{staged}/.doctrees",
                staged,
                str(target),
            ]
        )
    if left == 0:
        shutil.copyfile(target / "README.html", target / "index.html")
        print(f"site: {target / 'index.html'}")
    return left


if __name__ == "__main__":
    raise SystemExit(main())
