"""Law 9: folding the log gives the same bytes whole, event by event and at any cuts, and as following it gave."""

from collections.abc import Sequence

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from psycopg import Connection
from psycopg.rows import DictRow

from ledger.application import BlockingLedger, CreditLedger
from ledger.store.clock import settable_clock
from ledger.store.database import Database, Role
from ledger.store.migrate import migrate
from projections.read_model import READ_MODELS, ReadModel
from projections.registry import prepare
from projections.runner import advance
from tests.conftest import Hands, drop
from tests.history import Play, histories


def rows(connection: Connection[DictRow], model: ReadModel) -> list[str]:
    """Every row of a read model as PostgreSQL prints it."""
    found = connection.execute(model.sql("SELECT t::text AS line FROM {table} AS t ORDER BY t::text"))
    return [row["line"] for row in found]


def ends(connection: Connection[DictRow]) -> list[int]:
    """Where the log may be cut: after each transaction."""
    found = connection.execute("SELECT DISTINCT transaction_last FROM movements ORDER BY transaction_last")
    return [row["transaction_last"] for row in found]


def folded(connection: Connection[DictRow], model: ReadModel, cuts: Sequence[int], suffix: str) -> list[str]:
    beside = ReadModel(model.name, suffix)
    connection.execute(beside.sql(beside.schema_sql))
    after = 0
    for until in cuts:
        beside.fold(connection, after, until)
        after = until
    return rows(connection, beside)


@settings(max_examples=8, phases=[Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(acts=histories, data=st.data())
def test_the_cuts_of_the_windows_do_not_matter(server_dsn: str, acts: list[object], data: st.DataObject) -> None:
    database = Database(server_dsn, "t_cuts")
    migrate(database)
    try:
        hands = Hands(database)
        with (
            CreditLedger(database, clock=settable_clock()) as ledger,
            database.connect(Role.PROJECTOR) as connection,
        ):
            prepare(connection, database)
            play = Play(BlockingLedger(ledger), hands)
            for act in acts:
                play.one(act)
                for model in READ_MODELS:
                    advance(connection, model)
            places = ends(connection)
            for model in READ_MODELS:
                followed = rows(connection, model)
                cuts = sorted(data.draw(st.sets(st.sampled_from(places))) | {places[-1]}) if places else []
                assert folded(connection, model, places[-1:], "_whole") == followed
                assert folded(connection, model, places, "_each") == followed
                assert folded(connection, model, cuts, "_cut") == followed
    finally:
        drop(database)
