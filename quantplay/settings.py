"""The environment, read once: nothing else in the project reads an environment variable."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from quantplay.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Where quantplay keeps things and what it may use."""

    home: Path  # QUANTPLAY_HOME: embedded database, artifacts, Prefect's own files
    cache: Path  # QUANTPLAY_CACHE: rebuildable things such as the unpacked llama.cpp converter
    database_url: str | None  # QUANTPLAY_DATABASE_URL: PostgreSQL >= 14; None starts the embedded one
    artifacts_url: str  # QUANTPLAY_ARTIFACTS_URL: any fsspec URL
    threads: int  # QUANTPLAY_THREADS: threads of heavy work; recorded, because bytes and speed depend on it
    owners: Path  # QUANTPLAY_OWNERS: people, roles and public keys whose signatures count
    sign_off_days: int = 14  # QUANTPLAY_SIGN_OFF_DAYS: how long a request for signatures stands before it expires
    prefect_api_url: str | None  # PREFECT_API_URL: a Prefect server that is already there
    pool: str | None = None  # QUANTPLAY_POOL: work pool that heavy plays are sent to; None: they run in this process
    device: str | None = None  # QUANTPLAY_DEVICE: identity of the device jobs here run on; None: the first found
    device_locks: Path | None = None  # QUANTPLAY_DEVICE_LOCKS: one folder for all that shares the devices
    allow_code: bool = False  # QUANTPLAY_ALLOW_CODE: deployed runs may run Python of task files that their plan names
    gateway_keys: Path | None = None  # QUANTPLAY_GATEWAY_KEYS: who may ask the gateway; None: this machine only
    notices: Path | None = None  # QUANTPLAY_NOTICES: addresses of who hears of rollbacks; None: nobody but Prefect
    standards: Path | None = None  # QUANTPLAY_STANDARDS: the organisation's rules for plans; None: there are none
    web_url: str | None = None  # QUANTPLAY_WEB_URL: where people reach the web pages; None: where they listen
    oidc_issuer: str | None = (
        None  # QUANTPLAY_OIDC_ISSUER: provider at which people log in to the pages; None: nobody does
    )
    oidc_client: str = "quantplay"  # QUANTPLAY_OIDC_CLIENT: what quantplay is called there
    oidc_secret_file: Path | None = None  # QUANTPLAY_OIDC_SECRET_FILE: holds the client's secret; None: a public client
    give_back_seconds: int = 600  # QUANTPLAY_GIVE_BACK_SECONDS: how long a job waits for a worker that can do it

    @property
    def lock_folder(self) -> Path:
        return self.device_locks or self.home / "devices"


def default_home() -> Path:
    # PostgreSQL refuses to run as root and drops to a user of its own, which can't enter /root.
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        return Path("/var/lib/quantplay")
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "quantplay"


def usable_cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def read_give_back() -> int:
    text = os.environ.get("QUANTPLAY_GIVE_BACK_SECONDS") or str(Settings.give_back_seconds)
    if not text.isascii() or not text.isdigit() or len(text) > 8:
        raise InputError(
            "QUANTPLAY_GIVE_BACK_SECONDS is not a number of seconds",
            value=text,
            allowed="a whole number from 0 to 99999999",
            fix="unset it to wait for ten minutes",
        )
    return int(text)


def read_allow_code() -> bool:
    text = os.environ.get("QUANTPLAY_ALLOW_CODE") or "0"
    if text not in ("0", "1"):
        raise InputError(
            "QUANTPLAY_ALLOW_CODE is neither yes nor no", value=text, allowed="0 or 1", fix="unset it for 0"
        )
    return text == "1"


def read_server_hosts() -> tuple[str, ...]:
    """Names the Prefect server answers to besides its own, in small letters; `*`: any. Only the server reads them."""
    text = os.environ.get("QUANTPLAY_SERVER_HOSTS") or ""
    names = tuple(name.strip().lower() for name in text.split(",") if name.strip())
    wrong = [name for name in names if name != "*" and not re.fullmatch(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*", name)]
    if wrong:
        raise InputError(
            "QUANTPLAY_SERVER_HOSTS holds what is no name", value=", ".join(wrong),
            allowed="names without port, separated by commas, such as prefect,prefect.example.com; or *",
            fix="correct it, or unset it",
        )  # fmt: skip
    return names


def read_threads() -> int:
    text = os.environ.get("QUANTPLAY_THREADS")
    if not text:
        return min(usable_cpus(), 8)
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:6]) <= 1024:
        raise InputError(
            "QUANTPLAY_THREADS is not a number of threads",
            value=text,
            allowed="a whole number from 1 to 1024",
            fix="unset it to use every core, at most 8",
        )
    return int(text)


def read_sign_off_days() -> int:
    text = os.environ.get("QUANTPLAY_SIGN_OFF_DAYS")
    if not text:
        return 14
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:6]) <= 30:
        raise InputError(
            "QUANTPLAY_SIGN_OFF_DAYS is not a number of days", value=text, allowed="a whole number from 1 to 30",
            fix="unset it for 14",
        )  # fmt: skip
    return int(text)


def read_web_url() -> str | None:
    url = (os.environ.get("QUANTPLAY_WEB_URL") or "").rstrip("/") or None
    if url is not None and not re.fullmatch(r"https?://[A-Za-z0-9._-]+(:[0-9]{1,5})?", url):
        raise InputError(
            "QUANTPLAY_WEB_URL is not the address of a site", value=url, allowed="https://HOST or https://HOST:PORT, without a path",
            fix="correct it, or unset it",
        )  # fmt: skip
    return url


def read_api_url() -> str | None:
    url = os.environ.get("PREFECT_API_URL") or None
    if url is not None and not url.startswith(("http://", "https://")):
        raise InputError(
            "PREFECT_API_URL is not an address", value=url, allowed="http://HOST:PORT/api, or https://",
            fix="correct it, or unset it to use a local server",
        )  # fmt: skip
    return url


def read_secret(name: str) -> str | None:
    """The value of the variable `name`, or the text of the file that `name`_FILE points to: a secret a container mounts.

    Raises InputError where both are set, or the file holds nothing. What the file holds is in no message.
    """
    value, file = os.environ.get(name), os.environ.get(f"{name}_FILE")
    if not file:
        return value or None
    if value:
        raise InputError(f"{name} and {name}_FILE are both set", allowed="one of them", fix=f"unset {name}")
    try:
        text = Path(file).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise InputError(
            f"the file that {name}_FILE points to can't be read", value=f"{file}: {reason}",
            allowed="a text file this user may read", fix="mount the secret, or correct the path",
        ) from None  # fmt: skip
    if not text:
        raise InputError(f"the file that {name}_FILE points to is empty", value=file, fix="put the secret there")
    return text


def read_path(name: str, default: Path) -> Path:
    """The path in the variable `name`, with `~` expanded. Raises InputError for a `~user` nobody knows."""
    text = os.environ.get(name) or str(default)
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError as error:
        raise InputError(
            f"{name} names a user this machine does not know", value=text, fix="write the path out"
        ) from error


def read_folder(name: str, default: Path) -> Path:
    """The same for a folder that may still have to be made. Raises InputError where a file is in its place or above it."""
    folder = read_path(name, default)
    try:
        there = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
    except OSError:  # a name too long, or a folder nobody may look into: told when it is written to
        return folder
    if not there.is_dir():
        raise InputError(
            f"{name} can't be a folder",
            value=folder,
            allowed=f"a folder; {there} is none",
            fix=f"set {name} to another one",
        )
    return folder


def read_settings() -> Settings:
    """Read the environment now. Tests use this; everything else uses `settings()`."""
    home = read_folder("QUANTPLAY_HOME", default_home())
    return Settings(
        home=home,
        cache=read_folder("QUANTPLAY_CACHE", home / "cache"),
        database_url=read_secret("QUANTPLAY_DATABASE_URL"),
        artifacts_url=os.environ.get("QUANTPLAY_ARTIFACTS_URL") or (home / "artifacts").as_uri(),
        threads=read_threads(),
        owners=read_path("QUANTPLAY_OWNERS", home / "owners.yaml"),
        sign_off_days=read_sign_off_days(),
        prefect_api_url=read_api_url(),
        pool=os.environ.get("QUANTPLAY_POOL") or None,
        device=os.environ.get("QUANTPLAY_DEVICE") or None,
        device_locks=read_folder("QUANTPLAY_DEVICE_LOCKS", home / "devices"),
        allow_code=read_allow_code(),
        gateway_keys=read_path("QUANTPLAY_GATEWAY_KEYS", Path()) if os.environ.get("QUANTPLAY_GATEWAY_KEYS") else None,
        notices=read_path("QUANTPLAY_NOTICES", Path()) if os.environ.get("QUANTPLAY_NOTICES") else None,
        standards=read_path("QUANTPLAY_STANDARDS", Path()) if os.environ.get("QUANTPLAY_STANDARDS") else None,
        web_url=read_web_url(),
        oidc_issuer=os.environ.get("QUANTPLAY_OIDC_ISSUER") or None,
        oidc_client=os.environ.get("QUANTPLAY_OIDC_CLIENT") or Settings.oidc_client,
        oidc_secret_file=read_path("QUANTPLAY_OIDC_SECRET_FILE", Path())
        if os.environ.get("QUANTPLAY_OIDC_SECRET_FILE")
        else None,
        give_back_seconds=read_give_back(),
    )


@cache
def settings() -> Settings:
    return read_settings()
