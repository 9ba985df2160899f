"""Rebuilds: what is folded again is what serves, byte for byte; nothing else is touched, and nothing is half done."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from psycopg import Connection, sql
from psycopg.rows import DictRow

from ledger.application import BlockingLedger, CreditLedger
from ledger.domain.credits import credits_of
from ledger.domain.values import Kind, PoolKey
from ledger.store.clock import Clock, settable_clock
from ledger.store.database import Database, Role
from ledger.store.migrate import migrate
from projections import rebuild as rebuilding
from projections import registry
from projections.balances.queries import pool_balance
from projections.pruning import Dropped, prune
from projections.read_model import BALANCES, LOTS, READ_MODELS, ReadModel, RecordedModel
from projections.reading import Reader
from projections.rebuild import Rebuilt, Step, rebuild, rehearse, roll_back
from projections.refusals import CannotBeFolded, StillRead, SwapNotReached
from projections.registry import Stage, position_of, prepare, shadow_of
from projections.runner import Runner, advance
from projections.windows import take_turn
from service.cli.frame import run
from service.cli.main import cli
from service.reactor import Reactor
from service.reactors import Reactors
from tests.conftest import Hands, drop
from tests.history import Play, histories
from tests.projections.builds import serving_of, wrong_builds

ACME = PoolKey(Kind.CREDIT_GRANT, "acme", "credits", None)


def say_nothing(_: Step) -> None:
    pass


def issue(books: BlockingLedger, amount: int = 100) -> int:
    return books.issue_grant(
        holder="acme", currency="credits", amount=amount, display_name="grant", grant_type="PAID"
    ).position


def follow(database: Database, models: Iterable[ReadModel] = READ_MODELS) -> None:
    """Bring what serves to the head."""
    with database.connect(Role.PROJECTOR) as connection:
        prepare(connection, database)
        for model in models:
            while advance(connection, serving_of(connection, model)):
                pass


def serving_now(database: Database, model: ReadModel) -> str:
    with database.connect(Role.READER) as connection:
        return serving_of(connection, model).build


@settings(
    max_examples=3,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(acts=histories)
def test_what_is_folded_again_is_what_serves_while_writes_go_on(
    server_dsn: str, acts: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of every read model and whatever happened: when it is rebuilt, followed after that, and rolled back."""
    monkeypatch.setattr(rebuilding, "WINDOW_EVENTS", 30)
    monkeypatch.setattr(rebuilding, "TOGETHER_EVENTS_MAX", 20)
    database, third = Database(server_dsn, "t_rebuild"), len(acts) // 3
    migrate(database)
    try:
        hands = Hands(database)
        with (
            CreditLedger(database, clock=settable_clock()) as ledger,
            Runner(database),
            Reader(database, clock=settable_clock()) as reader,
            ThreadPoolExecutor(1) as player,
        ):
            play = Play(BlockingLedger(ledger), hands)

            def while_playing(acts: list[Any], work: Callable[[ReadModel], Rebuilt]) -> list[Rebuilt]:
                playing = player.submit(play.all, acts)
                done = [work(model) for model in READ_MODELS]
                playing.result()
                with reader.snapshot(at_least=reader.progress().head) as snapshot:
                    assert all(snapshot.builds[each.name].build == each.build for each in done)
                replaced = [model.built_as(str(each.replaced)) for model, each in zip(READ_MODELS, done, strict=True)]
                assert wrong_builds(database, replaced) == []
                return done

            play.all(acts[:third])
            rebuilt = while_playing(acts[third:-third], lambda model: rebuild(database, model, say_nothing))
            for each in rebuilt:
                assert each.comparison is not None
                assert (each.comparison.differing, each.comparison.same_fold) == (0, True)
            rolled_back = while_playing(acts[-third:], lambda model: roll_back(database, model, say_nothing))
            assert [each.build for each in rolled_back] == [each.replaced for each in rebuilt]
    finally:
        drop(database)


def test_a_rebuild_that_was_ended_goes_on_where_it_was(
    books: BlockingLedger, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuilding, "WINDOW_EVENTS", 5)
    monkeypatch.setattr(rebuilding, "TOGETHER_EVENTS_MAX", 2)
    for _ in range(20):
        issue(books)
    follow(database)
    seen: list[Step] = []

    def end_after_two(step: Step) -> None:
        seen.append(step)
        if len(seen) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rebuild(database, BALANCES, end_after_two)
    done = rebuild(database, BALANCES, seen.append)
    assert [step.position for step in seen[:4]] == [5, 10, 15, 20]
    assert serving_now(database, BALANCES) == done.build != BALANCES.version
    assert wrong_builds(database) == []


def test_a_swap_gives_up_while_somebody_holds_the_turn_and_nothing_has_changed(
    books: BlockingLedger, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuilding, "SWAP_SECONDS_MAX", 0.4)
    position, tries = issue(books), 0

    def count(step: Step) -> None:
        nonlocal tries
        tries += step.phase is rebuilding.Phase.SWAPPING

    follow(database)
    with database.connect(Role.PROJECTOR) as runner:
        live = serving_of(runner, BALANCES)
        with runner.transaction():
            assert take_turn(runner, live) == position
            with pytest.raises(SwapNotReached):
                rebuild(database, BALANCES, count)
            assert tries > 1
            assert serving_of(runner, BALANCES) == live
        shadow = shadow_of(runner, BALANCES)
        assert shadow is not None
        assert position_of(runner, shadow) == position, "what was folded is kept"
        issue(books)
        assert advance(runner, live), "and what serves is followed as before"
    assert rebuild(database, BALANCES, say_nothing).build == shadow.build


def test_a_projection_whose_table_is_lost_is_rebuilt_with_nothing_to_compare(
    books: BlockingLedger, database: Database
) -> None:
    issue(books)
    follow(database)
    with database.connect(Role.PROJECTOR) as connection:
        connection.execute(LOTS.sql("DROP TABLE {table}"))
    with pytest.raises(CannotBeFolded, match="what serves now cannot be read"):
        rehearse(database, LOTS, say_nothing)
    assert rebuild(database, LOTS, say_nothing).comparison is None
    assert wrong_builds(database) == []
    assert [each.build for each in prune(database, [LOTS])] == [LOTS.version]


def test_a_reader_that_has_begun_keeps_what_it_reads(
    books: BlockingLedger, database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projections.pruning.READERS_SECONDS_MAX", 0.2)
    issue(books, 100)
    follow(database)
    with Reader(database, clock=clock) as reader:
        with reader.snapshot() as snapshot:
            rebuild(database, BALANCES, say_nothing)
            issue(books, 50)
            follow(database)
            with pytest.raises(StillRead):
                prune(database, READ_MODELS)
            assert pool_balance(snapshot, ACME).balance == credits_of(100)
        assert prune(database, READ_MODELS) == [Dropped("balances", BALANCES.version, Stage.KEPT, 1)]
        with reader.snapshot() as snapshot:
            assert pool_balance(snapshot, ACME).balance == credits_of(150)


def test_who_still_follows_what_was_dropped_finds_nothing_to_do(books: BlockingLedger, database: Database) -> None:
    issue(books)
    follow(database)
    with database.connect(Role.PROJECTOR) as runner:
        followed = serving_of(runner, BALANCES)
        rebuild(database, BALANCES, say_nothing)
        prune(database, [BALANCES])
        issue(books)
        assert advance(runner, followed) is False
        assert advance(runner, serving_of(runner, BALANCES)) is True


def test_who_drops_a_build_waits_for_whoever_folds_it(books: BlockingLedger, database: Database) -> None:
    class Slow(ReadModel):
        """Balances, on a machine that sleeps after the fold until somebody waits to drop them."""

        def fold(self, connection: Connection[DictRow], after: int, until: int, skips: Sequence[int] = ()) -> None:
            super().fold(connection, after, until, skips)
            dropped.append(other.submit(registry.drop, dropper, "balances", self.build, Stage.SERVING))
            waiting = "SELECT FROM pg_locks WHERE pid = %s AND NOT granted"
            while connection.execute(waiting, [dropper.info.backend_pid]).fetchone() is None:
                assert not dropped[0].done()

    issue(books)
    dropped: list[Future[None]] = []
    with (
        database.connect(Role.PROJECTOR) as runner,
        database.connect(Role.PROJECTOR) as dropper,
        ThreadPoolExecutor(1) as other,
    ):
        prepare(runner, database)
        assert advance(runner, Slow("balances")) is True
        dropped[0].result()
        assert position_of(runner, BALANCES) is None


FORMER = RecordedModel(
    "balances",
    key=BALANCES.key,
    texts=(
        BALANCES.schema_sql,
        BALANCES.fold_sql.replace("amount IS NOT NULL", "amount IS NOT NULL AND type <> 'ledger.refunded'"),
    ),
)
"""Balances as an earlier version of the code made them: it forgot refunds."""


def test_a_new_version_is_rehearsed_against_the_former_one_and_rebuilt_beside_it(
    books: BlockingLedger, database: Database, clock: Clock
) -> None:
    issue(books, 100)
    debit = books.consume(holder="acme", currency="credits", amount=30)
    refunded = books.refund(transaction_id=debit.transaction_id, amount=10).position
    follow(database, ())
    with database.connect(Role.PROJECTOR) as connection:
        connection.execute("DELETE FROM projections WHERE name = 'balances'")
        connection.execute(BALANCES.sql("DROP TABLE {table}"))
        prepare(connection, database, [FORMER])
        follow(database, [FORMER])
    found = rehearse(database, BALANCES, say_nothing)
    assert (found.changed, found.added, found.removed, found.parted_at) == (1, 0, 0, refunded)
    [row] = found.sample
    assert row.before is not None
    assert row.after is not None
    assert (row.before["balance"], row.after["balance"]) == (70, 80)
    with Reader(database, clock=clock) as reader:
        assert reader.progress([BALANCES]).making == {"balances"}
        assert rebuild(database, BALANCES, say_nothing).position == refunded
        assert reader.progress([BALANCES]).making == set()
        with reader.snapshot([BALANCES]) as new, reader.snapshot([FORMER]) as old:
            assert pool_balance(new, ACME).balance == credits_of(80)
            assert pool_balance(old, ACME).balance == credits_of(70), "the former version goes on with its own"
    assert wrong_builds(database, [FORMER]) == []
    assert {each.build for each in prune(database, [BALANCES])} >= {FORMER.version}


def test_of_two_versions_that_are_both_followed_neither_is_still_being_made(
    books: BlockingLedger, database: Database, clock: Clock
) -> None:
    """One is always a little ahead, now this one and now that."""
    issue(books)
    with database.connect(Role.PROJECTOR) as runner, Reader(database, clock=clock) as reader:
        prepare(runner, database, [FORMER, BALANCES])
        assert advance(runner, FORMER)
        assert reader.progress([BALANCES]).making == {"balances"}
        assert advance(runner, BALANCES)
        for ahead in (FORMER, BALANCES, BALANCES, FORMER):
            issue(books)
            assert advance(runner, ahead)
            assert reader.progress([BALANCES]).making == reader.progress([FORMER]).making == set()


def test_a_rebuild_changes_nothing_but_read_models_and_no_reactor_runs(
    books: BlockingLedger, database: Database, clock: Clock, hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even with a lapse that is due and a recharge that is pending."""
    books.issue_grant(
        holder="acme", currency="credits", amount=5, display_name="grant", grant_type="PAID",
        expires_at=hands.now + timedelta(hours=1),
    )  # fmt: skip
    books.save_auto_recharge(
        holder="b\u00e4r",
        currency="credits",
        enabled=True,
        threshold=10,
        target=20,
        unit_price="1",
        idempotency_key="k",
    )
    books.define_allocation_rule(name="rule", account_groups=["lab"], allocated=1, alarm_threshold=1)
    books.consume(holder="acme", currency="credits", amount=2, account_groups=["lab"])
    hands.set(hands.now + timedelta(hours=2))
    follow(database)
    made = reactors_made(monkeypatch)
    before = write_side(database)
    monkeypatch.setenv("LEDGER_DATABASE_URL", database.dsn)
    monkeypatch.setenv("LEDGER_SCHEMA", database.schema)
    monkeypatch.setenv("LEDGER_TEST_CLOCK", "1")
    for command in (["rebuild", "--all", "--dry-run"], ["rebuild", "--all"], ["rollback", "lots"], ["prune"]):
        assert run(cli, ["projections", *command]) == 0
    assert made == []
    assert write_side(database) == before
    with Reader(database, clock=clock) as reader:
        asyncio.run(Reactors(books.ledger, reader).act())
    assert sorted(made) == ["due", "recharge", "threshold"]
    for table in ("events", "due", "claims", "followed"):
        assert write_side(database)[table] != before[table], "all of it was waiting to be written"


def reactors_made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the reactors that are made from now on."""
    made: list[str] = []
    make = Reactor.__init__

    def counted(self: Reactor, ledger: CreditLedger) -> None:
        made.append(self.name)
        make(self, ledger)

    monkeypatch.setattr(Reactor, "__init__", counted)
    return made


def write_side(database: Database) -> dict[str, list[str]]:
    """Every row of every table that is not a read model or the registry of them, as PostgreSQL prints it."""
    with database.connect(None) as connection:
        found = connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r' "
            "AND relowner = %s::regrole",
            [database.role_name(Role.OWNER)],
        )
        text = sql.SQL("SELECT t::text AS line FROM {} AS t ORDER BY t::text")
        return {
            row["relname"]: [each["line"] for each in connection.execute(text.format(sql.Identifier(row["relname"])))]
            for row in found.fetchall()
        }
