"""The registry's pages behind a real server, in a thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from quantplay.live.gateway.serve import listen
from quantplay.web.app import Site, app_of


@contextmanager
def served(site: Site, port: int = 0) -> Iterator[str]:
    """Their address."""
    place = listen("127.0.0.1", port)
    server = uvicorn.Server(uvicorn.Config(app_of(site), http="h11", ws="none", lifespan="off", log_config=None))
    thread = threading.Thread(target=lambda: server.run(sockets=[place]))
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{place.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
