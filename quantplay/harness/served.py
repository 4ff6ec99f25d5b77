"""`python -m quantplay.harness.served PARENT COMMAND ...`: becomes COMMAND, which dies with the process PARENT."""

from __future__ import annotations

import os
import sys

from quantplay import process

if __name__ == "__main__":
    process.die_with(int(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606 - the kernel's order to die outlives exec
