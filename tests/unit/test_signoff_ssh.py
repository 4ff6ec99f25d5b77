"""ssh-keygen does the signing: real keys, real signatures, and a clear word for every key it refuses."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from signers import Team, made_signer, made_team, signed_by_hand

from quantplay.errors import InputError, MissingDependency
from quantplay.signoff import read_owners, ssh

TEXT = "what is signed: ä\n".encode()


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Team:
    return made_team(tmp_path_factory.mktemp("team"))


def keys_of(team: Team, name: str) -> tuple[str, ...]:
    person = read_owners(team.owners).person(name)
    assert person is not None
    return person.keys


def test_a_signature_verifies_for_its_text_signer_and_purpose_alone(team: Team, tmp_path: Path) -> None:
    grace = keys_of(team, "Grace Hopper")
    signature = ssh.sign(TEXT, team.grace.key)
    assert ssh.verify(TEXT, signature, "Grace Hopper", grace) == ssh.fingerprint_of_key(team.grace.key)
    assert ssh.verify(TEXT + b" ", signature, "Grace Hopper", grace) is None
    assert ssh.verify(TEXT, signature, "Grace Hopper", keys_of(team, "ada@example.com")) is None
    assert ssh.verify(TEXT, signature, "Grace Hopper", ()) is None
    assert ssh.verify(TEXT, signature[:-60], "Grace Hopper", grace) is None
    assert ssh.verify(TEXT, "no signature", "Grace Hopper", grace) is None
    (tmp_path / "text").write_bytes(TEXT)
    command = ["ssh-keygen", "-q", "-Y", "sign", "-n", "git", "-f", str(team.grace.key), str(tmp_path / "text")]
    subprocess.run(command, check=True, capture_output=True)
    assert ssh.verify(TEXT, (tmp_path / "text.sig").read_text(), "Grace Hopper", grace) is None


def test_one_made_by_hand_is_the_same(team: Team, tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(TEXT)
    by_hand = signed_by_hand(tmp_path / "text", team.ada.key).read_text()
    assert by_hand == ssh.sign(TEXT, team.ada.key)  # Ed25519 is deterministic


@pytest.mark.parametrize("kind", [("ecdsa", "256"), ("rsa", "2048")])
def test_other_kinds_of_keys(tmp_path: Path, kind: tuple[str, str]) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", kind[0], "-b", kind[1], "-N", "", "-f", str(key)], check=True)
    public = " ".join(key.with_name("key.pub").read_text().split()[:2])
    facts = ssh.facts_of_public_key(public)
    assert facts is not None
    assert facts.bits == int(kind[1])
    assert ssh.verify(TEXT, ssh.sign(TEXT, key), "ada", ("ssh-ed25519 AAAA", public)) == facts.fingerprint


def refused(key: Path) -> str:
    """What the message says, from a process without a terminal, so that nothing is asked."""
    code = (
        "import sys; from pathlib import Path; from quantplay.signoff import ssh\n"
        "from quantplay.errors import InputError\n"
        "try:\n    ssh.sign(b'x', Path(sys.argv[1]))\nexcept InputError as error:\n    print(error)"
    )
    without_agent = {name: value for name, value in os.environ.items() if not name.startswith(("SSH_", "DISPLAY"))}
    done = subprocess.run(
        [sys.executable, "-c", code, str(key)], capture_output=True, text=True, start_new_session=True,
        stdin=subprocess.DEVNULL, env=without_agent, timeout=60,
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout


def test_keys_that_cannot_be_used_say_why(team: Team, tmp_path: Path) -> None:
    assert "there is no key here" in refused(tmp_path / "none")
    assert "there is no key here" in refused(tmp_path)
    (tmp_path / "text").write_text("hello")
    (tmp_path / "text").chmod(0o600)
    assert "not an SSH key" in refused(tmp_path / "text")
    (tmp_path / "alone.pub").write_text(team.ada.public)
    assert "the SSH agent holds no private key for it" in refused(tmp_path / "alone.pub")
    wide = made_signer(tmp_path, "wide").key
    wide.chmod(0o644)
    assert f"chmod 600 {wide}" in refused(wide)
    locked = tmp_path / "locked"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", str(locked)], check=True)
    said = refused(locked)
    assert "has a passphrase" in said
    assert "ssh-add" in said
    assert ssh.fingerprint_of_key(locked).startswith("SHA256:")  # whose key it is needs no passphrase
    with pytest.raises(InputError, match="not an SSH key"):
        ssh.fingerprint_of_key(tmp_path / "text")


def test_an_old_ssh_keygen_is_a_missing_dependency(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, team: Team) -> None:
    program = tmp_path / "ssh-keygen"
    program.write_text("#!/bin/sh\necho 'ssh-keygen: illegal option -- Y' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingDependency, match=r"8\.2 or newer"):
        ssh.sign(TEXT, team.ada.key)


def test_nothing_is_left_behind_and_nothing_is_open_to_others(
    team: Team, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    ssh.verify(TEXT, ssh.sign(TEXT, team.ada.key), "ada@example.com", keys_of(team, "ada@example.com"))
    assert list(tmp_path.iterdir()) == []
    ssh.write_private(tmp_path / "file", b"x")
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600
