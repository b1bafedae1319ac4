"""The command line: one sub-command per verb, thin. `main` is the console script."""

from visemo.cli.entry import main

__all__ = ["main"]
