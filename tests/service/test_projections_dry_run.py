"""What a rebuild would change, told beforehand: in which rows, from what to what, and since which event of the log."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from ledger.store.database import Database, Role
from projections import registry
from projections.read_model import BALANCES, ENTRIES, USAGE, VERSION_DIGITS, ReadModel, RecordedModel
from tests.service.operating import Operated, fill

REFUNDED_AT = 612
"""The position of the only refund, the last event; its debit is the one before."""


@pytest.fixture
def operated(database: Database) -> Operated:
    operated = fill(database)
    operated.follow()
    return operated


def everything(operated: Operated) -> Any:
    """All that a rehearsal must leave as it was."""
    return operated.registered(), operated.tables(), operated.all_rows(), operated.head()


def with_older_text(operated: Operated, model: ReadModel, now: str, then: str) -> ReadModel:
    """Leave the registry as a version of the code did whose fold said something else; that version."""
    assert now in model.fold_sql
    texts = (model.schema_sql, model.fold_sql.replace(now, then))
    older = RecordedModel(model.name, key=model.key, texts=texts)
    assert older.version == hashlib.sha256("\0".join(texts).encode()).hexdigest()[:VERSION_DIGITS] != model.version
    with operated.database.connect(Role.PROJECTOR) as connection:
        connection.execute("DELETE FROM projections WHERE name = %s", [model.name])
        connection.execute(model.sql("DROP TABLE {table}"))
        connection.execute(older.sql(older.schema_sql))
        older.fold(connection, 0, operated.head())
        connection.execute(
            "INSERT INTO projections (name, version, schema_sql, fold_sql, position) VALUES (%s, %s, %s, %s, %s)",
            [older.name, older.build, *texts, operated.head()],
        )
    return older


def test_where_nothing_would_change_it_says_so_and_ends_with_0(operated: Operated) -> None:
    before = everything(operated)
    done = operated.run("rebuild", "--all", "--dry-run")
    assert done.returncode == 0
    counts = {name: len(rows) for name, rows in operated.all_rows().items()}
    assert done.stdout.splitlines() == [
        f"{name}: {count} rows at position {operated.head()}, byte for byte the same" for name, count in counts.items()
    ]
    assert everything(operated) == before


def test_a_row_that_was_tampered_with_is_shown_to_the_last_digit_and_the_command_ends_with_2(
    operated: Operated,
) -> None:
    """Where it parts: at the first event of which the row is made."""
    operated.execute(
        "UPDATE {table} SET granted = granted + 0.000000001, balance = balance + 0.000000001 WHERE holder = 'odd'",
        BALANCES,
    )
    before = everything(operated)
    (told,) = operated.told("rebuild", "balances", "--dry-run", ends=2)
    assert {name: told[name] for name in ("changed", "added", "removed", "differing", "rows_before", "rows_after")} == {
        "changed": 1, "added": 0, "removed": 0, "differing": 1, "rows_before": 3, "rows_after": 3,
    }  # fmt: skip
    (row,) = told["sample"]
    assert (row["before"]["granted"], row["after"]["granted"]) == ("1000000.000000002", "1000000.000000001")
    assert (row["before"]["balance"], row["after"]["balance"]) == ("999999.500000002", "999999.500000001")
    differing = {name for name in row["after"] if row["before"][name] != row["after"][name]}
    assert (differing, row["after"]["holder"]) == ({"granted", "balance"}, "odd")
    assert (told["parted_at"], told["position"]) == (first_of(operated, "odd"), operated.head())
    done = operated.run("rebuild", "balances", "--dry-run")
    assert done.returncode == 2
    assert "1 rows differ" in done.stdout
    assert "granted 1000000.000000002 -> 1000000.000000001" in done.stdout
    assert f"position {first_of(operated, 'odd')}; one fold made both" in done.stdout
    assert everything(operated) == before


def first_of(operated: Operated, holder: str) -> int:
    with operated.database.connect(Role.READER) as connection:
        row = connection.execute("SELECT min(position) AS first FROM movements WHERE holder = %s", [holder]).fetchone()
    assert row is not None
    return int(row["first"])


def test_rows_that_are_missing_or_should_not_be_there_are_counted_and_shown(operated: Operated) -> None:
    operated.execute("DELETE FROM {table} WHERE position IN (4, 300)", ENTRIES)
    operated.execute("UPDATE {table} SET position = 10000 WHERE position = 500", ENTRIES)
    (told,) = operated.told("rebuild", "entries", "--dry-run", ends=2)
    assert (told["changed"], told["added"], told["removed"]) == (0, 3, 1)
    sides = {
        (row["before"] and row["before"]["position"], row["after"] and row["after"]["position"])
        for row in told["sample"]
    }
    assert sides == {(None, 4), (None, 300), (None, 500), (10000, None)}
    assert told["parted_at"] == 4
    assert operated.told("rebuild", "entries")[0]["comparison"]["differing"] == 4
    assert operated.run("rebuild", "entries", "--dry-run").returncode == 0, "the rebuild has mended it"


def test_an_older_version_that_counted_otherwise_is_compared_and_the_event_named_where_they_part(
    operated: Operated,
) -> None:
    """As before a deployment: the older version serves, and goes on serving."""
    assert operated.head() == REFUNDED_AT
    older = with_older_text(
        operated, USAGE, "moved.type IN ('ledger.debited', 'ledger.refunded')", "moved.type = 'ledger.debited'"
    )
    rows = operated.rows(older, older)
    (told,) = operated.told("rebuild", "usage", "--dry-run", ends=2)
    assert told["parted_at"] == REFUNDED_AT
    assert (told["changed"], told["added"], told["removed"], told["same_fold"]) == (3, 0, 0, False)
    used = {(row["before"]["grain"], row["before"]["used"], row["after"]["used"]) for row in told["sample"]}
    assert used == {(grain, "603.500000000", "602.500000000") for grain in ("DAY", "HOUR", "INSTANT")}
    done = operated.run("rebuild", "usage", "--dry-run")
    assert (done.returncode, f"  the two part at position {REFUNDED_AT}\n" in done.stdout) == (2, True)
    assert operated.rows(older, older) == rows
    builds = [(each["version"], each["state"], each["position"]) for each in operated.statuses("usage")]
    assert builds == [(older.version, "live", REFUNDED_AT)], "nothing of the present version is begun"
    assert [name for name in operated.tables() if name.startswith("usage_")] == [f"usage_{older.version}"]


def without_what_the_older_version_let_pass(operated: Operated) -> int:
    """An event that what serves has folded, when its table had no such check; its position."""
    operated.execute("ALTER TABLE {table} DROP CONSTRAINT " + f"balances_{BALANCES.version}_check", BALANCES)
    position = operated.plant("-5000000")
    operated.follow()
    return position


def test_an_event_that_cannot_be_folded_ends_it_with_1_and_is_named(operated: Operated) -> None:
    position = without_what_the_older_version_let_pass(operated)
    before = everything(operated)
    told = operated.told("rebuild", "balances", "--dry-run", ends=1)["error"]
    assert (told["code"], told["name"], told["position"]) == ("ProjectionFailed", "balances", position)
    assert "violates check constraint" in told["error"]
    assert everything(operated) == before
    assert operated.told("rebuild", "balances", ends=3)["error"]["position"] == position
    (shadow,) = operated.statuses("balances")[1:]
    assert (shadow["state"], shadow["position"], shadow["error"]["position"]) == ("failed", position - 1, position)
    assert operated.rows(BALANCES) == before[2]["balances"], "what serves goes on serving"


@pytest.mark.parametrize(
    ("settings", "ends"),
    [({"database_url": "host={nowhere}"}, 6), ({"schema": "t_missing"}, 2)],
    ids=["no database", "no ledger"],
)
def test_whatever_a_rehearsal_fails_at_it_never_ends_as_if_something_would_change(
    database: Database, tmp_path: Path, settings: dict[str, str], ends: int
) -> None:
    """A rebuild that fails at the same ends as all commands do."""
    operated = Operated(database)
    given = {name: value.format(nowhere=tmp_path) for name, value in settings.items()}
    assert operated.run("rebuild", "balances", "--dry-run", **given).returncode == 1
    assert operated.run("rebuild", "balances", **given).returncode == ends


def test_a_rehearsal_beside_a_rebuild_that_was_not_ended_leaves_that_as_it_is(operated: Operated) -> None:
    with operated.database.connect(Role.PROJECTOR) as connection:
        shadow = registry.begin_shadow(connection, operated.database, BALANCES)
        shadow.fold(connection, 0, 300)
        connection.execute("UPDATE projections SET position = 300 WHERE version = %s", [shadow.build])
    before = everything(operated), operated.rows(shadow, shadow)
    assert operated.run("rebuild", "balances", "--dry-run").returncode == 0
    assert (everything(operated), operated.rows(shadow, shadow)) == before
    (done,) = operated.told("rebuild", "balances")
    assert (done["build"], done["comparison"]["differing"]) == (shadow.build, 0)
