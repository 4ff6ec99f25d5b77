"""Signatures that come through a form: however a browser mangles the line ends, one signature in, the same bytes out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from signers import Team, made_statement, made_team

from quantplay.errors import InputError
from quantplay.signoff import render, ssh
from quantplay.signoff.paste import PASTED, label_of, rewrapped, shell_command
from quantplay.signoff.ssh import ARMOR

BLANKS = st.lists(st.sampled_from([" ", "\n", "\r\n", "\t"]), min_size=0, max_size=3).map("".join)


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Team:
    return made_team(tmp_path_factory.mktemp("team"))


@pytest.fixture(scope="module")
def signature(team: Team) -> str:
    return ssh.sign(render(made_statement("product_owner", "Grace Hopper")), team.grace.key)


@given(st.data())
def test_line_ends_may_become_anything(signature: str, data: st.DataObject) -> None:
    body = "".join(line + data.draw(BLANKS) for line in signature.splitlines()[1:-1])
    pasted = data.draw(BLANKS) + ARMOR[0].strip() + data.draw(BLANKS) + body + ARMOR[1].strip() + data.draw(BLANKS)
    assert rewrapped(pasted) == signature


def test_what_a_one_line_input_makes_of_it(signature: str) -> None:
    assert rewrapped(" ".join(signature.split("\n"))) == signature
    assert re.search(PASTED, " ".join(signature.split("\n")))
    assert re.search(PASTED, "")


@given(st.text(max_size=200))
def test_nothing_else_is_taken_for_a_signature(text: str) -> None:
    with pytest.raises(InputError):
        rewrapped(text)


def test_a_private_key_is_refused_everywhere_and_never_quoted(team: Team, signature: str) -> None:
    secret = team.grace.key.read_text()
    body = "".join(secret.splitlines()[1:-1])
    for pasted in (secret, " ".join(secret.split("\n")), ARMOR[0] + body + "\n" + ARMOR[1], signature + secret):
        assert not re.search(PASTED, pasted)
        with pytest.raises(InputError) as refused:
            rewrapped(pasted)
        assert not any(line in str(refused.value) for line in secret.splitlines()[1:-1])


def test_the_command_signs_exactly_the_text(team: Team, tmp_path: Path) -> None:
    """Copied into a shell, it prints a signature that verifies."""
    import subprocess

    statement = made_statement("product_owner", "Grace Hopper", comment='"$HOME" `id` and a \\')
    text = render(statement)
    command = shell_command(text, str(team.grace.key))
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    public = " ".join(team.grace.public.split()[:2])
    assert ssh.verify(text, rewrapped(done.stdout), "Grace Hopper", (public,)) is not None


def test_labels_tell_statements_apart() -> None:
    made = [
        made_statement(role, person, verdict=verdict)
        for role, person in (("ml_engineer", "ada"), ("product_owner", "ada"), ("product_owner", "grace"))
        for verdict in ("approve", "reject", "rework")
    ]  # type: ignore[arg-type]
    assert len({label_of(one) for one in made}) == 9
