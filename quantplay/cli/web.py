"""`quantplay web`: the registry as pages, until it is told to stop."""

from __future__ import annotations

import ipaddress
import logging

from quantplay.errors import MissingDependency


def command(host: str, port: int) -> int:
    from quantplay.cli.gateway import database
    from quantplay.settings import settings

    require_web()
    from flows.known_hosts import host_of
    from quantplay.web.app import Site
    from quantplay.web.serve import serve

    here = settings()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    if not is_this_machine(host):
        logging.getLogger("quantplay.web").warning(
            "Nobody has to log in: everybody who reaches %s may read all that the registry holds.", host
        )
    opened = database(here)
    opened()  # a database that is not there is told now
    site = Site(open=opened, owners=here.owners, reports=here.home / "reports")
    name = host_of(here.web_url)
    serve(
        site, host=host, port=port, names=[name] if name else [],
        on_ready=lambda address: print(f"registry: {here.web_url or address}", flush=True),
    )  # fmt: skip
    return 0


def is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def require_web() -> None:
    """Raises MissingDependency with the command that installs what the pages run on."""
    try:
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise MissingDependency(
            f"the web pages need {error.name}, which is not installed", fix="pip install 'quantplay[web]'"
        ) from None
