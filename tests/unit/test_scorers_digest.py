"""The harness digest: what changes it, and that no file which can change a score is left out."""

import ast
from pathlib import Path

import quantplay
from quantplay.harness.identity import harness_digest, source_digests
from quantplay.plan import Decoding

ROOT = Path(quantplay.__file__).parent
# Reached from the harness, and unable to change a score: data shapes, digests, names of types, error texts, paths, logs.
HARMLESS = {"__init__.py", "digest.py", "errors.py", "formats.py", "plan.py", "settings.py"}
HARMLESS |= {path.relative_to(ROOT).as_posix() for path in (ROOT / "records").glob("*.py")}
HARMLESS |= {"engines/__init__.py", "engines/llama_log.py", "harness/__init__.py"}


def imported(path: Path) -> set[Path]:
    """Files of this package that `path` imports, anywhere in it."""
    found: set[Path] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            if name.split(".")[0] == "quantplay":
                base = ROOT.joinpath(*name.split(".")[1:])
                found |= {file for file in (base.with_suffix(".py"), base / "__init__.py") if file.is_file()}
    return found


def test_every_module_the_harness_reaches_is_in_the_digest() -> None:
    reached, todo = set(), [ROOT / "harness" / "quality.py"]
    while todo:
        path = todo.pop()
        if path not in reached:
            reached.add(path)
            todo += imported(path)
    names = {path.relative_to(ROOT).as_posix() for path in reached}
    assert names - HARMLESS <= set(source_digests())


def test_what_changes_the_digest() -> None:
    same = [harness_digest("a" * 64, Decoding()) for _ in range(2)]
    others = [
        harness_digest("b" * 64, Decoding()),
        harness_digest("a" * 64, Decoding(max_tokens=63)),
        harness_digest("a" * 64, Decoding(stop=())),
        harness_digest("a" * 64, Decoding(), {"context_tokens": 512}),
    ]
    assert same[0] == same[1]
    assert len({same[0], *others}) == 5
