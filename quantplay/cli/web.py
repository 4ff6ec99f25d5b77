"""`quantplay web`: the registry as pages, until it is told to stop."""

from __future__ import annotations

import ipaddress
import logging
from typing import TYPE_CHECKING

from quantplay.errors import InputError, MissingDependency, QuantplayError

if TYPE_CHECKING:
    from collections.abc import Callable

    from quantplay.settings import Settings
    from quantplay.store.requests import Request
    from quantplay.web.provider import Connection

log = logging.getLogger("quantplay.web")


def command(host: str, port: int, provider_keys: bool = False) -> int:
    from quantplay.cli.gateway import database
    from quantplay.settings import settings

    require_web()
    from flows.known_hosts import host_of
    from quantplay.web.login import LogIn
    from quantplay.web.provider import connection
    from quantplay.web.serve import serve
    from quantplay.web.site import Site

    here = settings()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    at = None
    if here.oidc_issuer is not None:
        at = connection(here.oidc_issuer, here.oidc_client, here.oidc_secret_file, here.web_url)
    if provider_keys:
        return print_provider(at)
    if at is not None:
        told_of_keys(at, here)
    elif not is_this_machine(host):
        log.warning("Nobody has to log in: everybody who reaches %s may read all that the registry holds.", host)
    opened = database(here)
    opened()  # a database that is not there is told now
    site = Site(
        open=opened, owners=here.owners, reports=here.home / "reports", login=LogIn(at=at) if at is not None else None,
        resume=resuming(here),
    )  # fmt: skip
    name = host_of(here.web_url)
    serve(
        site, host=host, port=port, names=[name] if name else [],
        on_ready=lambda address: print(f"registry: {here.web_url or address}", flush=True),
    )  # fmt: skip
    return 0


def print_provider(at: Connection | None) -> int:
    """For the owners file: whoever writes it there has looked whether these are the provider's."""
    if at is None:
        raise InputError("there is no OpenID provider", fix="name it in QUANTPLAY_OIDC_ISSUER; docs/web.md says how")
    print(f"providers:\n  - issuer: {at.issuer}\n    client: {at.client}\n    keys:")
    for thumbprint in at.thumbprints():
        print(f"      - {thumbprint}")
    return 0


def told_of_keys(at: Connection, here: Settings) -> None:
    """A key that the owners file does not list signs nothing that counts: better known now than when somebody signs."""
    from quantplay.signoff import read_owners

    try:
        listed = [key for one in read_owners(here.owners).providers if one.issuer == at.issuer for key in one.keys]
        missing = [key for key in at.thumbprints() if key not in listed]
    except QuantplayError as error:
        log.warning("Nobody can sign on the pages now: %s", str(error).splitlines()[0])
        return
    if missing:
        log.warning(
            "Signatures with these keys of %s do not count: %s. Where they are right, add them to %s (quantplay web --provider-keys).",
            at.issuer, ", ".join(missing), here.owners,
        )  # fmt: skip


def resuming(here: Settings) -> Callable[[Request, str], str]:
    """Has a run go on that waits in Prefect for the signature that came."""

    def resume(asked: Request, plan: str) -> str:
        from flows.suspended import go_on

        try:
            found = go_on(here, asked, plan)
        except OSError as error:
            log.warning("Prefect was not reached: %s", error)
            return "The run goes on within an hour, or when `quantplay up` is there again."
        words = {
            "resumed": "The run goes on.",
            "started": "A new flow run goes on.",
            "going": "The run is going on already.",
        }
        return words.get(found.how, "The run goes on within an hour, or when `quantplay up` is there again.")

    return resume


def is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def require_web() -> None:
    """Raises MissingDependency with the command that installs what the pages run on."""
    try:
        import authlib  # noqa: F401
        import joserfc  # noqa: F401
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise MissingDependency(
            f"the web pages need {error.name}, which is not installed", fix="pip install 'quantplay[web]'"
        ) from None
