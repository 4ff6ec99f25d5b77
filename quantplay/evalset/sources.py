"""Where a model comes from: a local folder, or a hub repository at one pinned commit."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from tempfile import mkdtemp

from quantplay.errors import InputError, ServiceUnavailable
from quantplay.plan import ModelSource
from quantplay.settings import settings

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
COMMIT = re.compile(r"[0-9a-f]{40}")
# Weights as safetensors, the configuration and the tokenizer; no pickles, no code, no other frameworks' weights.
WANTED = ["*.safetensors", "*.json", "*.jinja", "tokenizer*", "*.model", "merges.txt", "vocab.txt"]
UNWANTED = ["*.py", "*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt", "*/*"]


def resolve_model(source: ModelSource, base: Path) -> Path:
    """Folder of the model; a relative path starts at `base`, the plan's folder.

    A hub repository is downloaded once a commit into the cache. Raises InputError (no such folder, no commit, unknown
    repository) or ServiceUnavailable (the hub does not answer).
    """
    if source.commit is None:
        folder = base / os.path.expanduser(source.source)  # noqa: PTH111 - Path's own raises for an unknown user
        if folder.is_dir():
            return folder.resolve()
        if HUB_ID.fullmatch(source.source):
            raise InputError(
                "there is no such folder, and a hub model needs a pinned commit",
                value=source.source,
                allowed="a folder, or a hub id with `commit`: 40 hexadecimal digits. A branch or a tag moves.",
                fix=f"look the commit up under https://huggingface.co/{source.source}/commits/main",
            )
        raise InputError("there is no such model folder", value=folder, allowed="a folder relative to the plan")
    if not HUB_ID.fullmatch(source.source):
        raise InputError(
            "`commit` belongs to a hub id",
            value=source.source,
            allowed="org/name",
            fix="remove `commit` for a local folder; its files are pinned by their digests",
        )
    if not COMMIT.fullmatch(source.commit):
        raise InputError("not a full commit", value=source.commit, allowed="40 hexadecimal digits; no branch, no tag")
    return download(source.source, source.commit, settings().cache / "models")


def download(repository: str, commit: str, cache: Path) -> Path:
    """The repository at `commit` as plain files in `cache`; present whole or not at all."""
    folder = cache / repository.replace("/", "--") / commit
    if folder.is_dir():
        return folder
    import httpx
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(mkdtemp(prefix=".partial-", dir=folder.parent))
    try:
        snapshot_download(
            repository, revision=commit, local_dir=partial, allow_patterns=WANTED, ignore_patterns=UNWANTED
        )
        shutil.rmtree(partial / ".cache", ignore_errors=True)  # the hub client's own bookkeeping
        try:
            partial.rename(folder)
        except OSError:
            if not folder.is_dir():  # another process was faster: its files are the same commit
                raise
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise InputError(
            "the hub has no such repository, or not this commit",
            value=f"{repository} at {commit}",
            fix="check the id and the commit; log in with `hf auth login` if the repository is private",
        ) from error
    except (HfHubHTTPError, LocalEntryNotFoundError, httpx.HTTPError, ConnectionError, TimeoutError) as error:
        raise ServiceUnavailable(
            f"the model hub does not answer: {error}",
            value=repository,
            fix="try again, or download the model yourself and name its folder in the plan",
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder
