"""What an operator may meet that no test of ours makes by working: lost tables, strange values, one failure of many."""

from datetime import timedelta
from typing import LiteralString

import pytest

from ledger.store.clock import set_test_clock
from ledger.store.database import Database, Role
from projections.read_model import BALANCES, READ_MODELS, USAGE
from tests.conftest import START
from tests.service.load import eventually
from tests.service.operating import SECONDS_MAX, Operated, fill
from tests.service.serving import serving


@pytest.fixture
def operated(database: Database) -> Operated:
    operated = fill(database, debits=20)
    operated.follow()
    return operated


def test_a_build_whose_table_is_lost_is_not_gone_back_to(operated: Operated) -> None:
    operated.told("rebuild", "usage")
    operated.execute(USAGE.sql("DROP TABLE {table}").as_string().encode())  # type: ignore[arg-type]
    assert operated.told("rollback", "usage", ends=3)["error"]["code"] == "ProjectionTableMissing"
    assert operated.serving(USAGE) != USAGE


def test_a_lost_table_is_told_at_once_and_made_again(operated: Operated) -> None:
    rows = operated.rows(USAGE)
    with serving(**operated.settings) as service:
        assert service.http.get("/readyz").status_code == 200
        operated.execute("DROP TABLE {table}", USAGE)
        assert service.http.get("/readyz").json()["problems"] == {"read model usage": "its table is missing"}
        status = operated.served("usage")
        assert (status["state"], status["error"]) == ("failed", {"message": "its table is missing", "position": None})
        assert operated.told("verify", "usage", ends=3)["error"]["code"] == "ProjectionTableMissing"
        [done] = operated.told("rebuild", "usage")
        assert done["comparison"] is None
        assert eventually(lambda: service.http.get("/readyz").status_code == 200, SECONDS_MAX)
    assert operated.rows(USAGE) == rows


def test_of_many_that_are_rebuilt_one_that_fails_holds_up_no_other(operated: Operated) -> None:
    used = operated.plant("-5000000")
    refunded = operated.plant("5000000", holder="acme", kind="ledger.refunded")
    done = operated.run("rebuild", "--all")
    assert done.returncode == 3
    rebuilt = {line.split(":")[0] for line in done.stdout.splitlines() if " serves at position " in line}
    assert rebuilt == {model.name for model in READ_MODELS if model not in (BALANCES, USAGE)}
    assert f"balances cannot fold the event at position {used}: " in done.stderr
    assert f"usage cannot fold the event at position {refunded}: " in done.stderr


def test_a_rehearsal_meets_the_event_that_a_rebuild_would_stop_at(operated: Operated) -> None:
    position = operated.plant("-5000000")
    problem = operated.told("rebuild", "balances", "--dry-run", ends=1)["error"]
    assert (problem["code"], problem["position"]) == ("ProjectionFailed", position)


def test_a_rehearsal_of_what_is_paused_is_held_at_once(operated: Operated) -> None:
    operated.told("pause", "balances")
    [told] = operated.told("rebuild", "balances", "--dry-run")
    assert told["differing"] == 0


@pytest.mark.parametrize(
    ("harm", "named"),
    [
        ("UPDATE {table} SET used = 'NaN'", "used is NaN, the log says "),
        ("UPDATE {table} SET bucket_at = 'infinity' WHERE grain = 'DAY'", " is missing"),
    ],
)
def test_a_value_that_no_ledger_writes_is_found_and_named_like_any_other(
    operated: Operated, harm: LiteralString, named: str
) -> None:
    operated.execute(harm, USAGE)
    done = operated.run("verify", "usage")
    assert done.returncode == 1
    assert "rows differ, first: " in done.stdout
    assert named in done.stdout


def test_who_follows_but_does_not_get_on_is_not_ready_for_long(operated: Operated) -> None:
    """However few events there are: an hour later nothing of them is to be read."""
    with serving("--no-worker", **operated.settings) as service:
        assert service.http.get("/readyz").json()["ready"]
        with operated.books() as books:
            books.consume(holder="acme", currency="credits", amount=1)
        assert service.http.get("/readyz").json()["ready"], "a moment is no reason to send nobody here"
        with operated.database.connect(Role.WRITER) as connection:
            set_test_clock(connection, START + timedelta(seconds=31))
        problems = service.http.get("/readyz").json()["problems"]
    assert problems["read model lots"].endswith(" 31 seconds behind")
    assert problems.keys() - {"follower"} == {f"read model {model.name}" for model in READ_MODELS}
