"""The command line. `main` starts it; everything a command needs is imported when that command runs."""

from __future__ import annotations

import sys

INTERRUPTED = 130


def main() -> None:
    """Entry point of `quantplay`."""
    try:
        from quantplay.cli.app import app

        app()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
