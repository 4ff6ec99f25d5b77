"""Signing and verifying with `ssh-keygen -Y`, as git does. A private key is read by ssh-keygen alone, never by this program."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from quantplay.errors import InputError, MissingDependency

NAMESPACE = "quantplay-signoff"
"""Bound into every signature, so that one made for git or for mail can't be used here."""
ARMOR = ("-----BEGIN SSH SIGNATURE-----\n", "-----END SSH SIGNATURE-----\n")
LARGEST_SIGNATURE = 16 << 10
FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")
SECONDS = 60
INSTALL = "apt-get install openssh-client, dnf install openssh, or brew install openssh"


@dataclass(frozen=True, kw_only=True)
class KeyFacts:
    """What ssh-keygen says about a public key."""

    fingerprint: str  # SHA256:...
    bits: int
    kind: str  # ED25519, RSA, ECDSA-SK ...


def require_ssh_keygen() -> str:
    """Path of the program. Raises MissingDependency with the command that installs it."""
    program = shutil.which("ssh-keygen")
    if program is None:
        raise MissingDependency("ssh-keygen, which makes and checks signatures, is not installed", fix=INSTALL)
    return program


def sign(text: bytes, key: Path) -> str:
    """An armored signature over `text`. `key`: a private key, or the .pub of one that the SSH agent holds.

    Asks for a passphrase on the terminal where the key has one. Raises InputError for a key that can't be used.
    """
    require_file(key)
    done = run(["-q", "-Y", "sign", "-n", NAMESPACE, "-f", str(key)], text, seconds=None)
    signature = done.stdout.decode("ascii", "replace")
    if done.returncode != 0 or not signature.startswith(ARMOR[0]):
        raise explained(done.stderr, key)
    return signature


def verify(text: bytes, signature: str, person: str, keys: tuple[str, ...]) -> str | None:
    """Fingerprint of that one of `keys` (lines `TYPE BASE64`) which signed `text`, or None where none of them did."""
    if not keys or len(signature) > LARGEST_SIGNATURE or not signature.isascii():
        return None
    with tempfile.TemporaryDirectory(prefix="quantplay-signoff-") as folder:  # mode 0700
        allowed, armored = Path(folder, "allowed_signers"), Path(folder, "signature")
        write_private(allowed, allowed_signers({person: keys}).encode())
        write_private(armored, signature.encode())
        arguments = ["-Y", "verify", "-f", str(allowed), "-I", person, "-n", NAMESPACE, "-s", str(armored)]
        done = run(arguments, text)
    found = FINGERPRINT.search(done.stdout.decode("utf-8", "replace").rpartition(" key ")[2])
    return found[0] if done.returncode == 0 and found else None


def allowed_signers(people: dict[str, tuple[str, ...]]) -> str:
    """The file `ssh-keygen -Y verify -f` reads: one line a key, good for this purpose alone."""
    return "".join(f'"{person}" namespaces="{NAMESPACE}" {key}\n' for person, keys in people.items() for key in keys)


def facts_of_public_key(line: str) -> KeyFacts | None:
    """What a line `TYPE BASE64` is; None where ssh-keygen can't read it."""
    done = run(["-l", "-E", "sha256", "-f", "-"], line.encode() + b"\n")
    return facts_in(done.stdout) if done.returncode == 0 else None


def fingerprint_of_key(key: Path) -> str:
    """Fingerprint of a private or public key file, without its passphrase. Raises InputError where it is no key."""
    require_file(key)
    done = run(["-l", "-E", "sha256", "-f", str(key)], b"")
    facts = facts_in(done.stdout) if done.returncode == 0 else None
    if facts is None:
        raise explained(done.stderr, key)
    return facts.fingerprint


def make_key(path: Path, comment: str) -> str:
    """A new Ed25519 key without a passphrase at `path` and `path`.pub; its public line. Only for throwaway keys."""
    done = run(["-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)], b"")
    if done.returncode != 0:
        raise explained(done.stderr, path)
    return path.with_name(f"{path.name}.pub").read_text(encoding="utf-8").strip()


def facts_in(output: bytes) -> KeyFacts | None:
    """`256 SHA256:... comment (ED25519)`."""
    words = output.decode("utf-8", "replace").split()
    if len(words) < 3 or not words[0].isdigit() or not FINGERPRINT.fullmatch(words[1]):
        return None
    return KeyFacts(bits=int(words[0]), fingerprint=words[1], kind=words[-1].strip("()"))


def run(arguments: list[str], text: bytes, seconds: float | None = SECONDS) -> subprocess.CompletedProcess[bytes]:
    """ssh-keygen with `text` as its input; messages in English."""
    program = require_ssh_keygen()
    try:
        done = subprocess.run(
            [program, *arguments], input=text, capture_output=True, timeout=seconds, check=False,
            env={**os.environ, "LC_ALL": "C"},
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise MissingDependency(
            "ssh-keygen does not answer", value=f"{seconds:g} s", fix=f"run {program} by hand"
        ) from error
    if b"unknown option -- Y" in done.stderr or b"illegal option -- Y" in done.stderr:
        raise MissingDependency("ssh-keygen is too old to sign", allowed="OpenSSH 8.2 or newer", fix=INSTALL)
    return done


def require_file(key: Path) -> None:
    try:
        plain = key.is_file()
    except OSError:  # a name too long, or a folder that may not be entered
        plain = False
    if not plain:
        raise InputError(
            "there is no key here", value=key, allowed="the file of a private SSH key",
            fix="name yours with --key FILE, or make one: ssh-keygen -t ed25519",
        )  # fmt: skip


def explained(stderr: bytes, key: Path) -> InputError:
    """Why ssh-keygen refused a key. Its own words may quote the file's name, never what is in it."""
    said = stderr.decode("utf-8", "replace")
    low = said.lower()
    if "unprotected private key file" in low:
        return InputError("the key can be read by others, so ssh-keygen refuses it", value=key, fix=f"chmod 600 {key}")
    if "passphrase" in low:
        return InputError(
            "the key has a passphrase, and it could not be asked for or was not right", value=key,
            fix=f"run this in a terminal, or `ssh-add {key}` first and then give --key {key}.pub",
        )  # fmt: skip
    if "no private key found" in low or "find key in agent" in low:
        return InputError(
            "this is a public key, and the SSH agent holds no private key for it", value=key,
            fix="give the private key with --key, or `ssh-add` it first",
        )  # fmt: skip
    if any(words in low for words in ("invalid format", "not a public key", "libcrypto", "load public key")):
        return InputError(
            "this file is not an SSH key", value=key, allowed="a private key that ssh-keygen made",
            fix="ssh-keygen -t ed25519 makes one",
        )  # fmt: skip
    last = next((line for line in reversed(said.splitlines()) if line.strip()), "no reason given")
    return InputError("ssh-keygen can't use this key", value=f"{key}: {last}", fix="try it: ssh-keygen -l -f KEY")


def write_private(path: Path, data: bytes) -> None:
    """A new file that only its owner may read."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
