"""A rebuild that is ended, held up or met by another: nothing is torn, and the same command goes on where it was."""

import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection as Pipe

import pytest

from ledger.store.database import Database, Role
from projections.read_model import BALANCES, ENTRIES, USAGE, ReadModel
from projections.runner import Runner
from tests.service.forking import FORKS
from tests.service.load import eventually
from tests.service.operating import SECONDS_MAX, Operated, fill, use
from tests.service.rebuilding import Seen, rebuild_told
from tests.service.serving import ANSWER_SECONDS_MAX

EVENTS = 20_000
HELD = """
SELECT FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE NOT granted AND locktype = 'transactionid' AND query LIKE %s
"""


def killed(database: Database, model: ReadModel, moment: int | str) -> list[Seen]:
    """What such a process told until it was killed: after so many steps, or at the first of a phase."""
    theirs: Pipe[Seen, None]
    ours, theirs = FORKS.Pipe(duplex=False)
    process = FORKS.Process(target=rebuild_told, args=(database, model, theirs))
    process.start()
    theirs.close()
    seen: list[Seen] = []
    with ours, suppress(EOFError):
        while len(seen) != moment and (seen == [] or seen[-1].phase != moment):
            assert ours.poll(SECONDS_MAX), "it stands still"
            seen.append(ours.recv())
    process.kill()
    process.join(ANSWER_SECONDS_MAX)
    assert process.exitcode in (0, -signal.SIGKILL), "if anything ends it before, it has done all"
    process.close()
    return seen


def whole(operated: Operated, model: ReadModel) -> list[str]:
    """The rows of the log folded at once, into a table that no registry knows."""
    once = ReadModel(model.name, "_whole")
    with operated.database.connect(Role.PROJECTOR) as connection:
        connection.execute(once.sql(once.schema_sql))
        once.fold(connection, 0, operated.head())
    return operated.rows(once, once)


@pytest.mark.parametrize("model", [BALANCES, USAGE, ENTRIES], ids=lambda model: model.name)
def test_killed_again_and_again_at_random_moments_it_ends_with_what_a_clean_one_makes(
    long: Operated, model: ReadModel
) -> None:
    """While the log grows and is followed; each begins where the one before it was."""
    chance = random.Random(11)
    with Runner(long.database), long.books() as books:
        stood = 0
        moments: list[int | str] = [chance.randrange(1, 12) for _ in range(3)]
        for moment in [*moments, "comparing", "swapping"]:
            seen = killed(long.database, model, moment)
            assert seen[0].position >= stood, "what was folded is not folded again"
            shadow = long.shadow(model)
            stood = 0 if shadow is None else position_of(long, shadow)
            use(books, 20)
        (last,) = long.told("rebuild", model.name)
        assert last["comparison"]["differing"] == 0
        assert eventually(lambda: long.served(model.name)["lagEvents"] == 0, SECONDS_MAX)
        rows = long.rows(model)
        assert rows == whole(long, model)
        long.told("rebuild", model.name)
        assert long.rows(model) == rows
    assert long.shadow(model) is None


def position_of(operated: Operated, build: ReadModel) -> int:
    (position,) = [each["position"] for each in operated.statuses(build.name) if each["version"] == build.build]
    return int(position)


@pytest.fixture(scope="module")
def long(schema: Database) -> Operated:
    operated = fill(schema, EVENTS)
    operated.follow()
    return operated


@pytest.fixture
def operated(database: Database) -> Operated:
    operated = fill(database, 3000)
    operated.follow()
    return operated


@contextmanager
def held_at(operated: Operated, position: int) -> Iterator[None]:
    """Within, the rebuild of the entries that has begun cannot come past a position: somebody holds that row."""
    shadow = operated.shadow(ENTRIES)
    assert shadow is not None
    row = operated.serving(ENTRIES).sql("SELECT * FROM {table} WHERE position = %s")
    with operated.database.connect(Role.PROJECTOR) as connection, connection.transaction(force_rollback=True):
        connection.execute(shadow.sql("INSERT INTO {table} ") + row, [position])
        operated.run("resume", "entries")
        with operated.database.connect(None) as looking:
            fold = f"%entries_{shadow.build}%"
            assert eventually(lambda: looking.execute(HELD, [fold]).fetchone() is not None, SECONDS_MAX)
        yield


def test_ctrl_c_ends_a_long_one_and_the_same_command_goes_on_where_it_was(operated: Operated) -> None:
    rows = operated.rows(ENTRIES)
    operated.run("pause", "entries")
    with operated.started("rebuild", "entries", window_events=700) as process:
        assert eventually(lambda: operated.shadow(ENTRIES) is not None, SECONDS_MAX)
        shadow = operated.shadow(ENTRIES)
        assert shadow is not None
        with held_at(operated, 2000):
            process.send_signal(signal.SIGINT)
            said, log = process.communicate(timeout=ANSWER_SECONDS_MAX)
    assert (process.returncode, said) == (130, "")
    assert "Traceback" not in log

    assert operated.shadow(ENTRIES) == shadow
    live, begun = operated.statuses("entries")
    assert (live["state"], live["lagEvents"]) == ("live", 0)
    assert (begun["state"], begun["serving"], begun["version"]) == ("rebuilding", False, shadow.build)
    assert 700 <= begun["position"] < 2000
    assert len(operated.rows(ENTRIES, shadow)) == sum(position <= begun["position"] for position in positions(operated))
    assert operated.rows(ENTRIES) == rows

    with operated.started("rebuild", "entries", window_events=700) as again:
        said, log = again.communicate(timeout=ANSWER_SECONDS_MAX)
    assert again.returncode == 0
    first = int(log.split(" of ")[0].split()[-1].replace(",", ""))
    assert begun["position"] < first <= begun["position"] + 700, log
    assert said.startswith(f"entries: {shadow.build} serves at position ")
    assert operated.serving(ENTRIES) == shadow
    assert operated.rows(ENTRIES) == rows


def positions(operated: Operated) -> list[int]:
    """Of all entries."""
    with operated.database.connect(Role.READER) as connection:
        rows = connection.execute(operated.serving(ENTRIES).sql("SELECT position FROM {table}"))
        return [row["position"] for row in rows]


def test_of_two_at_once_the_second_is_told_to_try_later_and_a_paused_one_goes_on_after_it_is_resumed(
    operated: Operated,
) -> None:
    operated.run("pause", "entries")
    with operated.started("rebuild", "entries", window_events=700) as first:
        assert first.stderr is not None
        said = first.stderr.readline()
        assert said.split()[:2] == ["entries", "paused"]
        for other in ("prune", "rebuild"):
            error = operated.told(other, "entries", ends=6)["error"]
            assert (error["code"], error["name"]) == ("ProjectionBeingRebuilt", "entries")
        assert operated.told("rebuild", "entries", "--dry-run", ends=1)["error"]["code"] == "ProjectionBeingRebuilt"
        assert [(each["state"], each["position"]) for each in operated.statuses("entries")][1] == ("paused", 0)
        assert operated.run("rebuild", "lots").returncode == 0, "another one is no matter of theirs"
        assert first.poll() is None
        operated.run("resume", "entries")
        said, log = first.communicate(timeout=ANSWER_SECONDS_MAX)
    assert first.returncode == 0, log
    assert said.endswith("byte for byte the same\n")
