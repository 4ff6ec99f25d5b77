"""Health check of a worker's container: ends with 0 where this host's worker of the pool given was seen in the product database lately."""

from __future__ import annotations

import socket
import sys

from quantplay.errors import QuantplayError
from quantplay.settings import settings
from quantplay.store.registry import open_store


def main(pool: str) -> int:
    host = socket.gethostname()
    try:
        with open_store(settings()) as store:
            alive = [worker.name for worker in store.list_workers(pool=pool) if worker.host == host]
    except QuantplayError as error:
        print(error, file=sys.stderr)
        return 1
    print(", ".join(alive) or f"no worker of pool {pool} on {host} was seen lately")
    return 0 if alive else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
