"""pyproject.toml, docs/dependencies.md, requirements.lock and the installed environment tell one story."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from quantplay.formats import FORMATS

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
RUN = [Requirement(line) for line in PROJECT["dependencies"]]
EXTRAS = {
    name: [Requirement(line) for line in lines]
    for name, lines in PROJECT["optional-dependencies"].items()
    if name != "dev"
}
DEV = [Requirement(line) for line in PROJECT["optional-dependencies"]["dev"]]


def lines_of_the_lock() -> list[str]:
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if not line.startswith("#")]


def lock() -> dict[str, Version]:
    """Package -> version, as far as the conditions hold here."""
    pins = [Requirement(line) for line in lines_of_the_lock()]
    return {
        pin.name: Version(str(pin.specifier).removeprefix("=="))
        for pin in pins
        if pin.marker is None or pin.marker.evaluate()
    }


def documented(heading: str) -> dict[str, str]:
    """Package -> reason, from the table below `heading` of docs/dependencies.md."""
    text = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    section = re.split(r"^## ", text, flags=re.MULTILINE)
    body = next(part for part in section if part.startswith(heading))
    return dict(re.findall(r"^\| ([a-z0-9-]+) \| (.+) \|$", body, flags=re.MULTILINE))


def closure(wanted: list[Requirement]) -> set[str]:
    """Names of everything the requirements bring along, as the installed packages' own metadata says."""
    found: set[str] = set()
    queue = [(requirement.name, frozenset(requirement.extras)) for requirement in wanted]
    seen: set[tuple[str, frozenset[str]]] = set()
    while queue:
        name, extras = queue.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        found.add(canonicalize_name(name))
        for line in metadata.requires(name) or ():
            requirement = Requirement(line)
            environments = [{**default_environment(), "extra": extra} for extra in ("", *extras)]
            if requirement.marker is None or any(requirement.marker.evaluate(each) for each in environments):
                queue.append((requirement.name, frozenset(requirement.extras)))
    return found


@pytest.mark.parametrize(
    ("heading", "wanted"),
    [("To run", RUN), ("Extras", [one for extra in EXTRAS.values() for one in extra]), ("To work on it", DEV)],
)
def test_every_direct_dependency_has_a_documented_reason(heading: str, wanted: list[Requirement]) -> None:
    reasons = documented(heading)
    reasons.pop("package", None)
    assert list(reasons) == sorted(reasons)
    assert set(reasons) == {requirement.name for requirement in wanted}
    assert all(len(reason) > 5 for reason in reasons.values())


def test_every_extra_that_an_error_or_a_page_tells_to_install_exists_and_the_tests_have_it() -> None:
    told = {one.extra for one in FORMATS.values() if one.extra}
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for names in re.findall(r"quantplay\[([a-z0-9,-]+)\]", page.read_text(encoding="utf-8")):
            told |= set(names.split(","))
    assert told <= set(EXTRAS)
    gone = {one.name for name, extra in EXTRAS.items() if name not in ("gptq", "mlflow") for one in extra} - {
        one.name for one in DEV
    }
    assert not gone


@pytest.mark.parametrize("requirement", [*RUN, *DEV], ids=lambda requirement: requirement.name)
def test_the_lock_holds_a_version_that_pyproject_allows(requirement: Requirement) -> None:
    assert lock()[canonicalize_name(requirement.name)] in requirement.specifier


def test_the_lock_is_sorted_exact_and_without_builds_for_one_machine() -> None:
    pins = lines_of_the_lock()
    assert pins == sorted(set(pins))
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*(; .+)?", pin) for pin in pins)
    assert "torch==2.13.0" in pins
    assert not [pin for pin in pins if pin.startswith(("nvidia-cu", "triton"))]


def test_the_lock_names_everything_that_dependencies_bring_along() -> None:
    assert closure([*RUN, *DEV]) - set(lock()) == set()


def test_the_environment_is_the_lock() -> None:
    installed = {name: Version(metadata.version(name)).public for name in lock()}
    assert installed == {name: version.public for name, version in lock().items()}
