"""Notices by mail, chat or pager: addresses of Apprise, in a file that only the judge reads. Needs no Prefect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from quantplay.errors import Fault, InputError
from quantplay.live.notices import LISTENERS, Listener, Notice, news, remember
from quantplay.live.watch import Watched
from quantplay.store.registry import Store

Addresses = Mapping[Listener, tuple[str, ...]]
"""Apprise's addresses of who is on call and of the product owner. They hold tokens: they are in no message, log or record."""


def read_addresses(path: Path) -> Addresses:
    """The file of QUANTPLAY_NOTICES. Raises InputError with everything that is wrong in it, and no address."""
    from apprise import Apprise

    try:
        told = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not YAML in UTF-8"
        raise refused(path, [Fault(where="file", what=reason or "can't be read")]) from None
    if not isinstance(told, dict) or not told:
        raise refused(path, [Fault(where="file", what="no list of addresses by listener")])
    faults = [Fault(where=str(name), what="nobody of that name") for name in told if name not in LISTENERS]
    for name in LISTENERS:
        entries = told.get(name, [])
        if not isinstance(entries, list):
            faults.append(Fault(where=name, what="not a list"))
            continue
        for place, entry in enumerate(entries, 1):
            if not isinstance(entry, str) or not Apprise().add(entry):
                faults.append(Fault(where=f"{name}, address {place}", what="not an address that Apprise knows"))
    if faults:
        raise refused(path, faults)
    return {name: tuple(told.get(name, ())) for name in LISTENERS}


def refused(path: Path, faults: Sequence[Fault]) -> InputError:
    return InputError(
        "the file of QUANTPLAY_NOTICES can't be used", value=path, faults=faults,
        allowed="on_call and product_owner, each a list of addresses such as mailtos://USER:PASSWORD@example.com",
        fix="correct it: the forms of addresses are in Apprise's documentation",
    )  # fmt: skip


def tell_people(store: Store, watched: Sequence[Watched], addresses: Addresses) -> list[str]:
    """Send each address what is new for it; returns who could not be reached, in words. They are tried again at the next look."""
    failed = []
    with store.run_lock("notices"):
        for listener in LISTENERS:
            for place, address in enumerate(addresses[listener], 1):
                channel = f"{listener} {place}"  # the address itself holds a token and stays in its file
                for one in watched:
                    notices, told = news(store, one, channel)
                    mine = [notice for notice in notices if listener in notice.to]
                    if all(delivered(notice, address) for notice in mine):
                        if notices:
                            remember(store, one.endpoint, channel, told)
                    else:
                        failed.append(f"{one.endpoint}: {channel} of QUANTPLAY_NOTICES could not be reached")
    return failed


def delivered(notice: Notice, address: str) -> bool:
    from apprise import Apprise

    sender: Any = Apprise()
    sender.add(address)
    return bool(sender.notify(title=f"quantplay: {notice.title}", body=notice.text))
