"""The writer's own way to PostgreSQL: prepared statements that travel together, and COPY that is not waited for.

libpq's pipeline, as psycopg hands it on: a statement costs some 5 µs of Python here, where a cursor's costs 40, and the
writer decides the next commands while the server takes in the last ones. For one thread, on a connection that is idle.
"""

import logging
import re
import selectors
from typing import Any, NamedTuple

from psycopg import Connection, OperationalError
from psycopg.adapt import Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ConnStatus, ExecStatus, PipelineStatus, TransactionStatus
from psycopg.pq.abc import PGresult
from psycopg.rows import DictRow

log = logging.getLogger(__name__)

WORD = re.compile(r"^[A-Z]+", re.MULTILINE)
"""The first of a statement, behind its comments: people find its plan by it in pg_prepared_statements."""
PARAMETER = re.compile(r"%s|%\(\w+\)s")
DONE = frozenset({ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK, ExecStatus.COPY_IN})


class Sent(NamedTuple):
    """A statement on its way. One that only `prepares` another has no answer of its own."""

    prepares: str | None
    may_fail: bool


class Wire:
    """Sends statements without waiting; `answers` waits for all that were sent. Between the two the connection is ours.

    Statements have one parameter or none, given as the text that PostgreSQL reads; each is prepared when it is sent the
    first time. What fails is raised as psycopg's own error, once everything that was sent is answered: the connection
    is then as after any failed statement. A lost connection is raised at once, as OperationalError.
    """

    def __init__(self, connection: Connection[DictRow]) -> None:
        self._connection = connection
        self._libpq = connection.pgconn
        self._must_wait = bool(self._libpq.ssl_in_use or self._libpq.used_gssapi)
        """Encryption wants what it could not send offered again whole, and libpq before 17.6 may offer less of it."""
        self._names: dict[str, bytes] = {}
        self._prepared = 0
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._libpq.socket, selectors.EVENT_READ)
        self._sent: list[Sent] = []

    def send(self, statement: str, value: str | None = None, *, may_fail: bool = False) -> None:
        """Send a statement behind those before it. After one that fails, the server skips the others.

        The failure of one that may fail is logged, and does no harm; it is the last of all that are sent.
        """
        libpq = self._libpq
        if libpq.pipeline_status == PipelineStatus.OFF:
            libpq.enter_pipeline_mode()
        name = self._names.get(statement)
        if name is None:
            self._prepared += 1
            name = f"wire_{self._prepared}_{WORD.findall(statement)[0]}".encode()
            libpq.send_prepare(name, PARAMETER.sub("$1", statement).encode())
            self._names[statement] = name
            self._sent.append(Sent(statement, may_fail))
        libpq.send_query_prepared(name, None if value is None else [value.encode()])
        self._sent.append(Sent(None, may_fail))

    def flush(self) -> None:
        """Let the server begin with what was sent.

        What it does not take in yet stays here, and is not waited for where the connection is not encrypted.
        """
        if self._libpq.flush() and self._must_wait:
            self._write()

    def answers(self) -> list[list[dict[str, Any]]]:
        """The rows of each statement that was sent, in order."""
        results, failure = self._read()
        if failure is not None:
            raise failure
        return list(map(self._rows, results))

    def copy_begin(self, statement: str) -> None:
        """Begin a COPY from here; nothing else may be on its way."""
        self._libpq.send_query(statement.encode())
        self._write()
        self._done()

    def copy(self, text: str) -> None:
        while not self._libpq.put_copy_data(text.encode()):
            self._write()
        self.flush()

    def copy_end(self) -> None:
        """Say that this is all of it; `copy_done` waits until the server has taken it in."""
        while not self._libpq.put_copy_end():
            self._write()
        self.flush()

    def copied(self) -> bool:
        """Whether the server has taken in the COPY that was ended, or has failed at it: `copy_done` does not wait."""
        libpq = self._libpq
        libpq.consume_input()
        return not (libpq.flush() or libpq.is_busy())

    def copy_done(self) -> None:
        self._write()
        self._done()
        self._result()

    def give_up(self) -> None:
        """Roll back, whatever was on its way when its sender failed.

        Not by psycopg, which would have the server forget all prepared statements.
        """
        libpq = self._libpq
        self._read()
        self._write()
        while (result := self._result()) is not None:
            if result.status == ExecStatus.COPY_IN:
                libpq.put_copy_end(b"the sender failed")
                self._write()
        if libpq.transaction_status != TransactionStatus.IDLE:
            self.send("ROLLBACK")
            self.answers()

    def _read(self) -> tuple[list[PGresult], Exception | None]:
        """The result of each statement that was sent, and what failed first; nothing is on its way any more."""
        libpq, sent, self._sent = self._libpq, self._sent, []
        if libpq.pipeline_status == PipelineStatus.OFF:
            return [], None
        libpq.pipeline_sync()
        self._write()
        results: list[PGresult] = []
        failure: Exception | None = None
        statement = Sent(None, may_fail=False)
        for statement in sent:
            result = self._result()
            assert result is not None
            self._result()  # the end of this statement's results
            if result.status in DONE:
                if statement.prepares is None:
                    results.append(result)
                continue
            if statement.prepares is not None:
                del self._names[statement.prepares]
            failure = failure or _failure(statement, result)
        while (result := self._result()) is None or result.status != ExecStatus.PIPELINE_SYNC:
            if result is not None:  # the last statement's own transaction, if it had one, ends only here
                failure = failure or _failure(statement, result)
        libpq.exit_pipeline_mode()
        return results, failure

    def _done(self) -> None:
        result = self._result()
        if result is None or result.status not in DONE:
            while self._result() is not None:
                pass
            raise OperationalError("the server did not answer") if result is None else error_from_result(result)

    def _rows(self, result: PGresult) -> list[dict[str, Any]]:
        if not result.ntuples:
            return []
        names = [(result.fname(column) or b"").decode() for column in range(result.nfields)]
        transformer = Transformer(self._connection)
        transformer.set_pgresult(result)
        return transformer.load_rows(0, result.ntuples, lambda values: dict(zip(names, values, strict=True)))

    def _result(self) -> PGresult | None:
        libpq = self._libpq
        while libpq.is_busy():
            self._selector.select()
            libpq.consume_input()
        result = libpq.get_result()
        if result is None and libpq.status == ConnStatus.BAD:
            raise OperationalError("the connection is lost")  # there would be no end of such results
        return result

    def _write(self) -> None:
        """Wait until the server takes what is to be sent; it may first want to be read from."""
        libpq = self._libpq
        if not libpq.flush():
            return
        self._selector.modify(libpq.socket, selectors.EVENT_READ | selectors.EVENT_WRITE)
        try:
            while libpq.flush():
                for _, events in self._selector.select():
                    if events & selectors.EVENT_READ:
                        libpq.consume_input()
        finally:
            self._selector.modify(libpq.socket, selectors.EVENT_READ)

    def close(self) -> None:
        self._selector.close()


def _failure(statement: Sent, result: PGresult) -> Exception | None:
    """What failed, unless it may."""
    error = error_from_result(result)
    if not statement.may_fail:
        return error
    if result.status != ExecStatus.PIPELINE_ABORTED:
        log.warning("a statement failed that may: %s", error)
    return None
