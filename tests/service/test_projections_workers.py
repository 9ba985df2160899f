"""Who follows the log: one process for each projection, another if that is killed; and what is told if nobody does."""

import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from psycopg.conninfo import make_conninfo

from ledger.store.database import Database, Role
from projections.read_model import BALANCES, READ_MODELS, ReadModel
from tests.service.load import eventually
from tests.service.operating import SECONDS_MAX, Operated, fill, use
from tests.service.serving import ANSWER_SECONDS_MAX, COMMAND, environment, serving

WAITING = "SELECT application_name FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = ANY(%s)"


@contextmanager
def working(operated: Operated, name: str) -> Iterator["subprocess.Popen[bytes]"]:
    """`credit-ledger worker`, whose sessions have a name; killed if it is left running."""
    named = {"database_url": make_conninfo(operated.database.dsn, application_name=name)}
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [COMMAND, "worker"], env=environment(**operated.settings | named), stdin=subprocess.DEVNULL, stderr=log
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait(ANSWER_SECONDS_MAX)


def sessions(operated: Operated, names: list[str]) -> set[str]:
    """Those of these names that have one."""
    with operated.database.connect(None) as connection:
        rows = connection.execute("SELECT application_name AS name FROM pg_stat_activity WHERE datname IS NOT NULL")
        return {row["name"] for row in rows} & set(names)


@contextmanager
def one_folds(operated: Operated, names: list[str]) -> Iterator[str]:
    """Within, one of these workers stands in the middle of a fold of the balances; its name."""
    row = operated.serving(BALANCES).sql("SELECT FROM {table} WHERE holder = 'acme' FOR UPDATE")
    with operated.database.connect(Role.PROJECTOR) as holding, holding.transaction():
        holding.execute(row)
        with operated.books() as books:
            use(books, 10)
        with operated.database.connect(None) as looking:
            assert eventually(lambda: looking.execute(WAITING, [names]).fetchone() is not None, SECONDS_MAX)
            (held,) = looking.execute(WAITING, [names]).fetchall()
        yield held["application_name"]


def at_head(operated: Operated) -> bool:
    serve = operated.told("status")["projections"]
    return serve != [] and all(each["lagEvents"] == 0 for each in serve)


def folded_at_once(operated: Operated) -> dict[str, list[str]]:
    """The rows of the whole log folded in one window, into tables that no registry knows."""
    rows = {}
    with operated.database.connect(Role.PROJECTOR) as connection:
        for model in READ_MODELS:
            once = ReadModel(model.name, "_whole")
            connection.execute(once.sql(once.schema_sql))
            once.fold(connection, 0, operated.head())
            rows[model.name] = operated.rows(once, once)
    return rows


def test_if_the_worker_that_folds_is_killed_another_goes_on_and_if_all_are_a_service_is_not_ready(
    database: Database,
) -> None:
    """Each event is folded once; that nobody follows the log is told although nothing is left to fold."""
    operated = fill(database)
    names = [f"{database.schema}-{name}" for name in ("a", "b")]
    with serving("--no-worker", **operated.settings) as service, ExitStack() as running:
        workers = {name: running.enter_context(working(operated, name)) for name in names}
        assert eventually(lambda: sessions(operated, names) == set(names) and at_head(operated), SECONDS_MAX)
        with one_folds(operated, names) as name:
            assert operated.served("balances")["lagEvents"] == 10
            workers.pop(name).kill()
        with operated.books() as books:
            use(books, 10)
        assert eventually(lambda: at_head(operated), SECONDS_MAX)
        assert operated.all_rows() == folded_at_once(operated)
        assert service.http.get("/readyz").status_code == 200

        ((_, last),) = workers.items()
        last.kill()
        assert eventually(lambda: service.http.get("/readyz").status_code == 503, SECONDS_MAX)
        told = service.http.get("/readyz").json()
        assert told["problems"] == {"follower": "nobody has followed the log for more than 5 seconds"}
        assert set(told["readModels"].values()) == {told["head"]}, "the lag does not tell"
        assert operated.told("status")["followed"] is False
        assert service.http.get("/livez").status_code == 200

        with working(operated, names[0]) as back:
            assert eventually(lambda: service.http.get("/readyz").status_code == 200, SECONDS_MAX)
            assert operated.told("status")["followed"] is True
            back.send_signal(signal.SIGTERM)
            assert back.wait(ANSWER_SECONDS_MAX) == 0
        assert eventually(lambda: not operated.told("status")["followed"], SECONDS_MAX)
