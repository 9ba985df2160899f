"""Processes of the command `credit-ledger` that begin at once: each is forked from one that has loaded it.

To load the service takes most of a second of the processor, to fork a hundredth. From its arguments and environment on
a process does what one of the console script does; that script itself is run by the tests of processes and settings.
"""

import multiprocessing
import os
import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from service.cli.main import main

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["service.server", __name__])


def forked(
    arguments: Sequence[str], environment: dict[str, str], *, cwd: Path | None, stdout: int, stderr: int
) -> ForkServerProcess:
    """Start `credit-ledger` with this environment and no other; its output goes to these file descriptors."""
    outputs = [Connection(os.dup(descriptor), readable=False) for descriptor in (stdout, stderr)]
    process = FORKS.Process(target=_run, args=(arguments, environment, cwd, *outputs), daemon=True)
    process.start()
    for output in outputs:
        output.close()
    return process


def _run(
    arguments: Sequence[str], environment: dict[str, str], cwd: Path | None, stdout: Connection, stderr: Connection
) -> None:
    """What the console script does, in the process that was forked."""
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)
    for descriptor, output in ((1, stdout), (2, stderr)):
        os.dup2(output.fileno(), descriptor)
        output.close()
    os.environ.clear()
    os.environ.update(environment)
    if cwd is not None:
        os.chdir(cwd)
    sys.argv = ["credit-ledger", *arguments]
    main()
