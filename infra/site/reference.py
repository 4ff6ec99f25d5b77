"""Reference pages that are generated from the code, so that they can't fall behind it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

# What somebody who calls quantplay from Python uses first.
LIBRARY = {
    "Plan files": ("quantplay.plan_file",),
    "Plays": tuple(
        f"quantplay.plays.{name}"
        for name in ("check", "baseline", "fit", "planning", "ptq", "evaluate", "mixing", "qat", "revalidate")
    ),
    "The gate": ("quantplay.gate.decide", "quantplay.gate.rule"),
    "Statistics": (
        "quantplay.stats.paired",
        "quantplay.stats.drops",
        "quantplay.stats.bootstrap",
        "quantplay.stats.holm",
        "quantplay.stats.power",
        "quantplay.stats.eprocess",
    ),
    "The package": ("quantplay.handoff.pack", "quantplay.handoff.verify"),
    "Formats, outcomes, errors": ("quantplay.formats", "quantplay.outcomes", "quantplay.errors"),
}


def write_reference(folder: Path) -> tuple[str, ...]:
    """Write every page into `folder` and return their names, without ending."""
    folder.mkdir()
    pages = {"plan-keys": plan_keys(), "commands": commands(), "library": library()}
    for name, text in pages.items():
        (folder / f"{name}.md").write_text(text, encoding="utf-8")
    return tuple(pages)


def plan_keys() -> str:
    """Every key of a plan, its type, default and meaning, from the JSON schema."""
    from quantplay.cli.schema import plan_schema

    whole = json.loads(plan_schema())
    about = {name: body.get("description", "").split("\n\n")[0] for name, body in whole["$defs"].items()}
    parts = [
        "# Every key of a plan",
        "",
        "Generated from the plan's JSON schema. What the parts are for: [the plan](../docs/plan.md).",
        "",
    ]
    parts += keys_table(whole, about)
    for name, body in whole["$defs"].items():
        parts += ["", f"## {name}", "", about[name], "", *keys_table(body, about)]
    return "\n".join(parts) + "\n"


def keys_table(body: dict[str, Any], parts: dict[str, str]) -> list[str]:
    required = set(body.get("required", ()))
    rows = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for key, about in body.get("properties", {}).items():
        default = "required" if key in required else f"`{json.dumps(about.get('default'))}`"
        rows.append(
            f"| `{key}` | {escaped(type_of(about))} | {escaped(default)} | {escaped(about.get('description', ''))} |"
        )
    return rows


def escaped(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def type_of(about: dict[str, Any]) -> str:
    """A JSON schema's type in words."""
    if "$ref" in about:
        name = about["$ref"].rsplit("/", 1)[-1]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in about:
        return " or ".join("nothing" if one.get("type") == "null" else type_of(one) for one in about["anyOf"])
    if "const" in about:
        return f"`{json.dumps(about['const'])}`"
    if "enum" in about:
        return ", ".join(f"`{one}`" for one in about["enum"])
    kind = about.get("type", "anything")
    if kind == "array":
        return f"list of {type_of(about.get('items', {}))}"
    if kind == "object" and isinstance(about.get("additionalProperties"), dict):
        return f"name: {type_of(about['additionalProperties'])}"
    signs = (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<"))
    return " ".join([kind, *(f"{sign} {about[limit]}" for limit, sign in signs if limit in about)])


def commands() -> str:
    """Every command and option, from the command line's own parser."""
    import typer
    from typer.cli import get_docs_for_click

    from quantplay.cli.app import app

    command = typer.main.get_command(app)
    context = typer.Context(command, info_name="quantplay")
    text = get_docs_for_click(obj=command, ctx=context, name="quantplay")
    _, _, rest = text.partition("\n")
    return f"# Every command and option\n\nGenerated from the command line. In words, with examples: [the command line](../docs/command-line.md).\n{rest}"


def library() -> str:
    """Signatures and docstrings of the modules that are called first."""
    parts = [
        "# The library",
        "",
        "Generated from the docstrings. Every play is a plain function that can be called without Prefect or the command line.",
        "",
    ]
    for title, modules in LIBRARY.items():
        parts += [f"## {title}", ""]
        for module in modules:
            parts += [f"### `{module}`", "", "```{eval-rst}", f".. automodule:: {module}", "```", ""]
    return "\n".join(parts)
