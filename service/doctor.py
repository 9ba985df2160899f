"""The doctor: examines a ledger, names what is wrong, and changes nothing.

Every check yields exactly one finding, always in the same order, whatever the others found. Most checks are one SQL
statement, so each looks at one snapshot of the database and may run while the ledger is written. Every session is
read-only and takes the role that may read the least of what the check needs: the log is read through its view as the
reader, the write-side tables as the writer, the record of migrations as the owner. One session is open at a time.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString, NamedTuple

import psycopg
from psycopg import Connection
from psycopg.rows import DictRow

from ledger.store.clock import Clock, database_clock
from ledger.store.database import Database, Role, UnusableDatabase
from ledger.store.migrate import migrations
from ledger.store.sql import statement
from service.projection_findings import Verdict, projections_get_on, rows_are_as_the_log_says

CLOCKS_APART_MAX = timedelta(seconds=5)
"""How far clocks may differ. A use that a caller dates this far ahead is still taken as now."""
LOCK_WAIT = "5s"
"""How long a check waits for somebody else's lock, say that of a migration, before it says so."""
WHOLE = {"enable_nestloop": "off"}
"""Without statistics, as after a restore, the planner takes the log for a few rows and would join it with itself in
loops that never end."""
SERVING_ROLES = (Role.WRITER, Role.PROJECTOR, Role.READER)

LOG_DAMAGED = (
    "The log itself is damaged, and nothing mends it in place: stop all writers, keep a copy of the database as it is, "
    "and restore the last backup that the doctor finds healthy."
)
NOT_AS_THE_LOG_SAYS = (
    "The log is the truth and this table only follows it: stop all writers, find out who wrote to the table, and make "
    "its rows what the log says before they start again."
)


class Finding(NamedTuple):
    """What one check found. `check` is its stable name; `says` is for people: what was looked at, the first thing that
    is wrong, and what to do about it."""

    check: str
    healthy: bool
    says: str


class Sessions:
    """The sessions of one examination: the last one stays open for the checks that want the same."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._last: Connection[DictRow] | None = None
        self._wanted: object = None

    def open(self, role: Role | None, **settings: str) -> "Connection[DictRow]":
        """A read-only session in this role and with these settings."""
        if self._last is None or self._wanted != (role, settings):
            self.close()
            self._last = self.database.connect(
                role, default_transaction_read_only="on", lock_timeout=LOCK_WAIT, **settings
            )
            self._wanted = (role, settings)
        return self._last

    def close(self) -> None:
        if self._last is not None:
            self._last.close()
            self._last = None


Look = Callable[[Sessions, Clock], Verdict]


@dataclass(frozen=True)
class Check:
    """A check by its name. A deep one reads the whole log."""

    name: str
    look: Look
    deep: bool = False


@dataclass(frozen=True)
class Survey:
    """A check that one statement carries out: it counts what it saw and what is at fault, and tells the first fault.

    `things` obey `law`; where they do not, `remedy` is what to do.
    """

    query: str
    role: Role | None
    things: str
    law: str
    remedy: str
    of_whole_log: bool = False

    def __call__(self, sessions: Sessions, clock: Clock) -> Verdict:
        return self.judge(sessions, {})

    def judge(self, sessions: Sessions, values: Mapping[str, object]) -> Verdict:
        connection = sessions.open(self.role, **(WHOLE if self.of_whole_log else {}))
        row: Any = connection.execute(_sql(self.query), values or None).fetchone()
        seen, faults, first = row["seen"], row["faults"], row["first_fault"]
        if faults == 0:
            return Verdict(True, f"{seen:,} {self.things} looked at: {self.law}.")
        return Verdict(False, f"{faults:,} of {seen:,} {self.things} at fault, first: {first}. {self.remedy}")


def examine(database: Database, *, clock: Clock | None = None, deep: bool = True) -> Iterator[Finding]:
    """Examine a ledger, check by check; `clock` is the ledger's own, by default the database's.

    A check that the database does not let through is a finding too. Where no connection can be made at all, that is
    the one finding. Deep checks read the whole log, in time and temporary disk space proportional to it.
    """
    reached = _connection(database)
    yield Finding("connection", *reached)
    if not reached.healthy:
        return
    with closing(Sessions(database)) as sessions:
        for check in CHECKS:
            if deep or not check.deep:
                yield Finding(check.name, *_looked(check.look, sessions, clock or database_clock()))


def _looked(look: Look, sessions: Sessions, clock: Clock) -> Verdict:
    """What a check says. Where it fails, so may its session: the next check gets another."""
    try:
        return look(sessions, clock)
    except UnusableDatabase as error:
        return Verdict(False, f"This could not be looked at: {error}.")
    except (psycopg.Error, ValueError) as error:  # ValueError: the database holds a value that no ledger wrote there
        sessions.close()
        reason = " ".join(str(error).split()) or type(error).__name__
        advice = "Mend that first (the findings above may say how), then examine the ledger again."
        return Verdict(False, f"This could not be looked at: {reason}. {advice}")


def _sql(name: str) -> LiteralString:
    return statement("service", f"queries/doctor/{name}.sql")


def _connection(database: Database) -> Verdict:
    """Whether the account can connect, whatever the server's version: that is the next check."""
    try:
        with psycopg.connect(database.conninfo(None), connect_timeout=10) as connection:
            info = connection.info
            return Verdict(True, f"Connected to database {info.dbname} on {info.host or 'a socket'} as {info.user}.")
    except psycopg.Error as error:
        reason = " ".join(str(error).split())
        return Verdict(
            False,
            f"The database cannot be reached: {reason}. See that the server runs and that the connection string names "
            f"it rightly; nothing else was looked at.",
        )


def _server_version(sessions: Sessions, clock: Clock) -> Verdict:
    try:
        version = sessions.open(None).info.parameter_status("server_version")
    except UnusableDatabase as error:
        return Verdict(False, f"The server is too old: {error}. Move the ledger to a newer server.")
    return Verdict(True, f"The server is PostgreSQL {version}.")


def _migrations(sessions: Sessions, clock: Clock) -> Verdict:
    known = migrations()
    hashes = [hashlib.sha256(text.encode()).hexdigest() for _, text in known]
    return MIGRATIONS.judge(sessions, {"names": [name for name, _ in known], "hashes": hashes})


def _roles(sessions: Sessions, clock: Clock) -> Verdict:
    """What the roles may do, then whether sessions really run as them: a pooler in between may drop the role."""
    database = sessions.database
    names = {role.value: database.role_name(role) for role in Role}
    verdict = ROLES.judge(sessions, {"schema": database.schema, **names})
    for role in SERVING_ROLES if verdict.healthy else ():
        row: Any = sessions.open(role).execute(_sql("current_role")).fetchone()
        if row["name"] != database.role_name(role):
            return Verdict(
                False,
                f"A session that was opened as {database.role_name(role)} runs as {row['name']}, so it has other rights"
                f" than it should. See that nothing between here and the server drops the session's start-up options.",
            )
    return verdict


def _clock(sessions: Sessions, clock: Clock) -> Verdict:
    """The database's clock beside this machine's, and the last event beside the ledger's clock."""
    connection = sessions.open(Role.READER)
    head = connection.execute(_sql("head")).fetchone()
    asked_at = datetime.now(UTC)
    instant = database_clock().read(connection)
    answered_at = datetime.now(UTC)
    now = clock.read(connection)
    apart = max(asked_at - instant, instant - answered_at, timedelta(0))
    if apart >= CLOCKS_APART_MAX:
        return Verdict(
            False,
            f"The database's clock says {instant.isoformat()}, this machine's {answered_at.isoformat()}: they are "
            f"{apart.total_seconds():.3f} s apart. Set both by the same time server.",
        )
    if head is not None and head["recorded_at"] - now > CLOCKS_APART_MAX:
        return Verdict(
            False,
            f"The last event, position {head['position']}, was recorded at {head['recorded_at'].isoformat()}, which is "
            f"{head['recorded_at'] - now} ahead of the ledger's clock: the clock was set back. Until it has caught up, "
            f"every new event carries that instant, and nothing falls due. Set the clock right.",
        )
    return Verdict(True, "The clocks of the database and of this machine agree, and no event is ahead of them.")


def _of_projections(look: Callable[[Connection[DictRow], Clock], Verdict]) -> Look:
    return lambda sessions, clock: look(sessions.open(Role.READER), clock)


def _of_log(name: str, role: Role, things: str, law: str, remedy: str) -> Check:
    """A deep check; its statement bears its name."""
    return Check(name, Survey(name.replace("-", "_"), role, things, law, remedy, of_whole_log=True), deep=True)


MIGRATIONS = Survey(
    "migrations",
    Role.OWNER,
    "migrations",
    "the schema is what this version of the code expects",
    "If one is missing, run the migration; if one is unknown or has another text, run the version of the code that "
    "belongs to this database.",
)
ROLES = Survey(
    "roles",
    None,
    "rights",
    "the roles are there, and none that serves can change the log",
    "Run the migration if a role is missing; otherwise take the right away as a superuser (REVOKE, ALTER ROLE), "
    "before anything is written with it.",
)
CHECKS: tuple[Check, ...] = (
    Check("server-version", _server_version),
    Check(
        "durability",
        Survey(
            "durability",
            None,
            "settings",
            "what was answered survives a crash",
            "Until it is on, a crash may lose commits that were answered: set it on in the server's configuration (or "
            "in the connection string), then restart the service.",
        ),
    ),
    Check("migrations", _migrations),
    Check("roles", _roles),
    Check(
        "triggers",
        Survey(
            "triggers",
            Role.READER,
            "triggers",
            "every change of the log is refused",
            "Find out who did that, then make the trigger again as in migration 0002, or enable it (ALTER TABLE ... "
            "ENABLE TRIGGER), as the owner.",
        ),
    ),
    Check("clock", _clock),
    Check(
        "epochs",
        Survey(
            "epochs",
            Role.READER,
            "epochs",
            "the last one is the log's, and the log goes beyond where each began",
            "The log was restored: stop all services, see that it is the log that is wanted, and say so with "
            "credit-ledger epochs begin before they start again.",
        ),
    ),
    _of_log(
        "positions",
        Role.READER,
        "events",
        "positions run from 1 to the head without a gap, and time never goes back",
        LOG_DAMAGED,
    ),
    _of_log(
        "transactions",
        Role.READER,
        "transactions",
        "the events of each stand together, and each says where it ends",
        LOG_DAMAGED,
    ),
    _of_log("streams", Role.READER, "events", "the versions of each stream run from 1 without a gap", LOG_DAMAGED),
    _of_log(
        "lot-law",
        Role.READER,
        "movements",
        "each lot has what was granted less what left it, at every position",
        LOG_DAMAGED,
    ),
    _of_log("pool-law", Role.READER, "movements", "each pool has what its lots have, at every position", LOG_DAMAGED),
    _of_log("refunds", Role.READER, "draws", "of none has more come back than went out", LOG_DAMAGED),
    _of_log(
        "schedules",
        Role.READER,
        "plans and parts of schedules",
        "each grants its parts in order, at their beginnings, up to its end",
        LOG_DAMAGED,
    ),
    _of_log(
        "rollovers",
        Role.READER,
        "rollovers",
        "what goes out of a grant comes into one that names it, once, with its share of the cost",
        LOG_DAMAGED,
    ),
    _of_log(
        "recharges",
        Role.READER,
        "recharges and their settings",
        "each recharge is counted once, costs what was agreed, and stays within the month's bound",
        LOG_DAMAGED,
    ),
    _of_log(
        "renewals",
        Role.READER,
        "definitions and periods of execution credits",
        "each period is granted once, for as long as it lasts, where the one before it ended",
        LOG_DAMAGED,
    ),
    _of_log(
        "rules",
        Role.READER,
        "events of allocation rules",
        "no two that there are have one name, and each month's threshold is recorded once, of what reached it",
        LOG_DAMAGED,
    ),
    _of_log("open-lots", Role.WRITER, "rows of open_lots and due", "they are what the log says", NOT_AS_THE_LOG_SAYS),
    _of_log("claims", Role.WRITER, "claims", "they are what the log says", NOT_AS_THE_LOG_SAYS),
    _of_log(
        "idempotency",
        Role.WRITER,
        "keys",
        "each leads to the first event of the transaction that answered it",
        "A caller that repeats this key gets another's answer: stop all writers, and restore the table idempotency "
        "from the last backup that the doctor finds healthy.",
    ),
    _of_log(
        "documents",
        Role.WRITER,
        "documents",
        "each is the one that the log names, unchanged",
        "No balance is concerned. Restore a text that is missing or changed from a backup; delete one that no event "
        "names only when it is known where it came from.",
    ),
    Check("read-models", _of_projections(projections_get_on)),
    Check("read-model-rows", _of_projections(rows_are_as_the_log_says), deep=True),
)
