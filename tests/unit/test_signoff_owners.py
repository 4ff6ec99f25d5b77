"""The owners file: read strictly, every fault at once with its line, and never a private key shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from signers import Team, made_signer, made_team, owners_text

from quantplay.digest import digest_of_file
from quantplay.errors import InputError, MissingDependency
from quantplay.signoff import read_owners, read_owners_text

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Team:
    return made_team(tmp_path_factory.mktemp("team"))


def test_people_roles_and_keys(team: Team) -> None:
    owners = read_owners(team.owners)
    assert [(one.name, one.roles) for one in owners.people] == [
        ("ada@example.com", ("ml_engineer",)), ("Grace Hopper", ("product_owner",)),
    ]  # fmt: skip
    assert owners.digest == digest_of_file(team.owners)
    ada = owners.person("ada@example.com")
    assert ada is not None
    assert owners.holder(ada.fingerprints[0]) == ada
    assert owners.holder("SHA256:unknown") is None
    assert owners.with_role("on_call") == ()
    assert team.ada.public.split()[1] in owners.allowed_signers()


def faults(text: str) -> str:
    with pytest.raises(InputError) as caught:
        read_owners_text(text.encode(), "owners.yaml")
    assert caught.value.faults
    return "\n".join(map(str, caught.value.faults))


def edited(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1, (old, text.count(old))
    return text.replace(old, new)


def test_every_fault_is_listed_at_once(team: Team) -> None:
    text = team.owners.read_text()
    text = edited(text, "schema: 1", "schema: 2")
    text = edited(text, "[product_owner]", "[product_onwer]")
    text = edited(text, "name: ada@example.com", "name: Grace Hopper")
    text = edited(text, f"- {team.ada.public}", "- ssh-ed25519 AAAAnokey\n      - ssh-dss AAAA")
    found = faults(text)
    assert "owners.yaml:1: schema" in found
    assert "did you mean `product_owner`?" in found
    assert "owners.yaml:8: people[2]: this name stands twice; the first is in line 3" in found
    assert "owners.yaml:6: people[1].keys[1]: ssh-keygen can't read this key" in found
    assert "owners.yaml:7: people[1].keys[2]: this kind of key is not accepted" in found
    assert found.count("\n") == 4


def test_one_key_for_two_people_is_refused(team: Team) -> None:
    found = faults(owners_text((team.ada, "ml_engineer"), (team.ada, "product_owner")).replace("ada@", "eve@", 1))
    assert "this is also the key of eve@example.com" in found
    assert "owners.yaml:10" in found
    twice = edited(team.owners.read_text(), f"- {team.ada.public}", f"- {team.ada.public}\n      - {team.ada.public}")
    assert "this key stands twice" in faults(twice)


def test_names_that_differ_only_in_case_are_one_name(team: Team) -> None:
    other = made_signer(team.folder / "other", "ADA@example.com")
    assert "this name stands twice" in faults(owners_text((team.ada, "ml_engineer"), (other, "product_owner")))


def test_a_private_key_is_refused_and_never_shown(team: Team) -> None:
    private = team.ada.key.read_text()
    secret = private.splitlines()[3]
    indented = private.replace("\n", "\n        ")
    text = edited(team.owners.read_text(), f"- {team.ada.public}", f"- |\n        {indented}")
    with pytest.raises(InputError) as caught:
        read_owners_text(text.encode(), "owners.yaml")
    assert "holds a private key" in str(caught.value)
    assert "owners.yaml:7" in str(caught.value)
    assert secret not in str(caught.value)
    body = "".join(private.splitlines()[1:-1])  # without its armor
    with pytest.raises(InputError) as caught:
        read_owners_text(edited(team.owners.read_text(), team.ada.public, body).encode(), "owners.yaml")
    assert secret not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "is empty"), ("# only a comment\n", "is empty"), ("- a\n", "should have the keys schema, people"),
        ("schema: 1\n", "`people` is missing"), ("schema: 1\npeople: []\n", "at least one"),
        ("schema: 1\npeople:\n", "at least one"), ("schema: true\npeople:\n  - x\n", "schema: is a version"),
        ("schema: 1\npeople:\n  - name: x\n", "`people[1].keys` is missing"),
        ("schema: 1\npeople:\n  - name: x\n    role: [on_call]\n    keys: [k]\n", "did you mean `roles`?"),
        ('schema: 1\npeople:\n  - name: "*"\n    roles: [on_call]\n    keys: [k]\n', "can't be a person's name"),
        ('schema: 1\npeople:\n  - name: "a\\nb"\n    roles: [on_call]\n    keys: [k]\n', "can't be a person's name"),
        ("schema: 1\npeople:\n  - name: x\n    roles: on_call\n    keys: [1]\n", "people[1].roles: should be a list"),
        ("schema: 1\npeople:\n  - name: x\n    roles: [on_call, on_call]\n    keys: [1]\n", "stands twice"),
        ("schema: 1\nschema: 1\npeople: [&a x]\n", "stands twice"), ("a: [", "owners.yaml:1"), ("\x00", "owners.yaml:1"),
    ],
)  # fmt: skip
def test_what_is_no_owners_file_says_why(text: str, expected: str) -> None:
    assert expected in faults(text)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no owners file"):
        read_owners(tmp_path / "none.yaml")
    with pytest.raises(InputError, match="not a plain file"):
        read_owners(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"schema: 1\npeople: \xe4\n")
    with pytest.raises(InputError, match=r"latin.yaml:2: is not UTF-8"):
        read_owners(tmp_path / "latin.yaml")
    (tmp_path / "large.yaml").write_bytes(b"#" * (1 << 20) + b"#")
    with pytest.raises(InputError, match="too large"):
        read_owners(tmp_path / "large.yaml")


def test_without_ssh_keygen_it_says_how_to_get_it(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(MissingDependency, match="openssh-client"):
        read_owners(team.owners)


def test_the_example_in_deployments_is_accepted() -> None:
    text = (ROOT / "deployments" / "owners.yaml").read_text(encoding="utf-8")
    assert {role for person in read_owners_text(text.encode(), "example").people for role in person.roles} >= {
        "ml_engineer", "product_owner",
    }  # fmt: skip
