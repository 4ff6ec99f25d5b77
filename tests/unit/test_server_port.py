"""The local Prefect server's port: no two homes share one, however close together they start."""

from __future__ import annotations

import contextlib

from flows.services import listening


def test_ports_taken_at_once_are_all_different() -> None:
    with contextlib.ExitStack() as stack:
        ports = [stack.enter_context(listening()).getsockname()[1] for _ in range(4)]
    assert len(set(ports)) == 4


def test_a_server_gets_the_port_back_that_its_workers_know() -> None:
    with listening() as first:
        port = first.getsockname()[1]
    with listening(port) as again:
        assert again.getsockname()[1] == port
        with listening(port) as other:
            assert other.getsockname()[1] != port
