"""The YAML of a task file with its includes, as plain values: `!function` is noted and never resolved, and a small file can't
become a large one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantplay.errors import Fault
from quantplay.evalset.jsonl import cannot_read, printable, require_regular

MAX_FILE_BYTES = 1 << 20
MAX_NODES = 100_000  # values, with every alias written out
PLAIN_YAML = "a YAML mapping of plain values; the only tag is `!function`"


@dataclass(frozen=True)
class Function:
    """A `!function module.name` of a task file, unresolved."""

    name: str
    where: str


def load(path: Path, faults: list[Fault], functions: list[Function], read: list[Path]) -> dict[str, Any]:
    """The file's mapping with its includes merged underneath, as lm-eval merges them."""
    import yaml

    if path.resolve() in [file.resolve() for file in read]:
        faults.append(Fault(where=str(path), what="the file includes itself", fix="remove one `include`"))
        return {}
    read.append(path)
    try:
        require_regular(path)
        raw = path.read_bytes() if path.stat().st_size <= MAX_FILE_BYTES else None
    except (OSError, ValueError) as error:
        raise cannot_read(path, error) from error
    if raw is None:
        faults.append(Fault(where=str(path), what="the file is too long", allowed="up to 1 MiB"))
        return {}

    class Loader(yaml.SafeLoader):
        """Safe YAML and an inert `!function`."""

    def function(loader: yaml.SafeLoader, node: yaml.Node) -> Function:
        name = loader.construct_scalar(node) if isinstance(node, yaml.ScalarNode) else ""
        found = Function(str(name), f"{path}:{node.start_mark.line + 1}")
        functions.append(found)
        return found

    Loader.add_constructor("!function", function)
    try:
        loader = Loader(raw.decode("utf-8"))
        root = loader.get_single_node()
        if root is not None and expanded_size(root, {}) > MAX_NODES:
            faults.append(
                Fault(
                    where=str(path),
                    what="its aliases (`*name`) contain themselves, or repeat so much that it is too large",
                    allowed=f"up to {MAX_NODES:,} values",
                    fix="write the values out",
                )
            )
            return {}
        config = None if root is None else loader.construct_document(root)
    except UnicodeDecodeError as error:
        what = f"byte {error.start + 1} is no UTF-8"
        faults.append(Fault(where=str(path), what=what, allowed="UTF-8", fix="save the file as UTF-8"))
        return {}
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        what = f"no valid YAML: {printable(error.problem or '')}"
        faults.append(Fault(where=f"{path}:{line}", what=what, allowed=PLAIN_YAML))
        return {}
    except (yaml.YAMLError, ValueError, TypeError, RecursionError, OverflowError) as error:
        faults.append(Fault(where=str(path), what=f"no valid YAML: {printable(str(error))}", allowed=PLAIN_YAML))
        return {}
    if not isinstance(config, dict) or not all(isinstance(key, str) for key in config):
        faults.append(Fault(where=str(path), what="no YAML mapping with text keys", allowed="task: NAME ..."))
        return {}
    merged: dict[str, Any] = {}
    includes = config.pop("include", [])
    for include in includes if isinstance(includes, list) else [includes]:
        if not isinstance(include, str) or not (path.parent / include).is_file():
            faults.append(
                Fault(
                    where=str(path),
                    what="it includes a file that is not there",
                    value=printable(include),
                    allowed="a file relative to the task file",
                )
            )
            continue
        merged |= load(path.parent / include, faults, functions, read)
    return merged | config


def expanded_size(node: Any, known: dict[int, float]) -> float:
    """How many values `node` has when every alias is written out; infinite where one contains itself."""
    if id(node) not in known:
        known[id(node)] = math.inf  # what an alias to a node that is still being counted has
        parts = node.value if isinstance(node.value, list) else []
        inner = (part for entry in parts for part in (entry if isinstance(entry, tuple) else (entry,)))
        known[id(node)] = 1 + sum(expanded_size(part, known) for part in inner)
    return known[id(node)]
