"""Where the command `credit-ledger` begins: to load it takes a moment, in which Ctrl-C is an end like any other."""

import sys


def main() -> None:
    """The console script."""
    try:
        from service.cli.main import main as run
    except KeyboardInterrupt:
        sys.exit(130)
    run()
