"""Processes of the command `credit-ledger` that begin at once: each is forked from one that has loaded it.

To load the service takes most of a second of the processor, to fork a hundredth. From its arguments and environment on
a process does what one of the console script does; that script itself is run by the tests of processes and settings.
"""

import json
import multiprocessing
import os
import socket
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from threading import Thread

from service.cli.main import main

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["service.server", "tests.service.rebuilding", __name__])
"""There is one list of what is loaded for all tests of a run: it is given here and nowhere else."""

ORDER_BYTES_MAX = 65_536
ASKING = """#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as door:
    door.connect({door!r})
    order = json.dumps([sys.argv[1:], dict(os.environ), os.getcwd()])
    socket.send_fds(door, [order.encode()], [1, 2])
    sys.exit(int(door.recv(8) or 1))
"""


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
    assert "service.server" in sys.modules, "each process loads the service anew: another list was given"
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


@contextmanager
def command_folder() -> Iterator[Path]:
    """A folder for the PATH of a shell, whose `credit-ledger` is forked: one at a time, with nothing on stdin."""
    with tempfile.TemporaryDirectory(prefix="ledger-command-") as made, socket.socket(socket.AF_UNIX) as listening:
        door, program = Path(made, "door"), Path(made, "credit-ledger")
        program.write_text(ASKING.format(python=sys.executable, door=str(door)))
        program.chmod(0o755)
        listening.bind(str(door))
        listening.listen()
        answering = Thread(target=_answer, args=[listening])
        answering.start()
        try:
            yield program.parent
        finally:
            with socket.socket(socket.AF_UNIX) as last:  # one that orders nothing
                last.connect(str(door))
            answering.join()


def _answer(listening: socket.socket) -> None:
    """Carry out what the programs of such a folder order, until one orders nothing."""
    while True:
        connection, _ = listening.accept()
        with connection:
            order, outputs, _, _ = socket.recv_fds(connection, ORDER_BYTES_MAX, 2)
            if not order:
                return
            arguments, environment, cwd = json.loads(order)
            process = forked(arguments, environment, cwd=Path(cwd), stdout=outputs[0], stderr=outputs[1])
            for output in outputs:
                os.close(output)
            process.join()
            connection.send(str(process.exitcode).encode())
