"""What a failure of the database says: that a new connection may help, or that a command is at fault."""

from typing import Any

import psycopg
from psycopg import Connection

PROGRAM_LIMIT_EXCEEDED = "54"
"""SQLSTATE class of what is too large for the server, a key of an index say: the row's fault, though psycopg counts it
among the operational errors."""
UNUSABLE_STATEMENTS = frozenset({"0A000", "26000"})
"""SQLSTATEs of a prepared statement whose table has changed, and of one that is gone: a new connection helps."""


def is_outage(error: Exception, connection: Connection[Any] | None) -> bool:
    """Whether a failure is the connection's or the server's, not that of a row: a new connection may help."""
    if not isinstance(error, psycopg.Error):
        return False
    if connection is None or connection.closed:
        return True
    too_large = (error.sqlstate or "").startswith(PROGRAM_LIMIT_EXCEEDED)
    return (isinstance(error, psycopg.OperationalError) and not too_large) or error.sqlstate in UNUSABLE_STATEMENTS


def is_taken_key(error: Exception) -> bool:
    return isinstance(error, psycopg.errors.UniqueViolation) and error.diag.constraint_name == "idempotency_key"
