"""`python -m quantplay.cli` is `quantplay`."""

from quantplay.cli import main

main()
