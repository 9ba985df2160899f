"""The replay of a ledger: what it reports, and that what it is asked for does not change what it finds."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from ledger.domain.audit.findings import CHECKS
from ledger.domain.audit.lines import Line
from ledger.domain.credits import credits_text
from ledger.domain.instants import FOREVER
from ledger.store.database import Database
from ledger.store.mapper import COLUMNS
from projections.audit import folding
from projections.audit.replay import replay
from projections.read_model import BALANCES, EXECUTION_CREDITS, LOTS
from service.refusals import Exit
from tests.audit.replaying import Auditor, Replayed
from tests.conftest import START
from tests.history import Play, histories
from tests.projections.followed import Followed, followed_ledger
from tests.service.test_doctor import asked, harmed

MODELS = ["lots", "balances", "execution_credits"]
SAME = ("ledger", "epoch", "position", "recordedAt", "checks", "comparisons", "numbers", "passed")


def alike(replayed: Replayed) -> dict[str, Any]:
    """What does not depend on who folded, and how fast."""
    return {name: replayed.data[name] for name in SAME}


def test_a_line_has_the_columns_of_the_log() -> None:
    assert sorted(Line._fields) == sorted(COLUMNS)


def test_a_ledger_that_has_lived_passes_every_check_and_agrees_with_what_serves(
    auditor: Auditor, lived: Database
) -> None:
    replayed = auditor.replay()
    head = int(asked(lived, "SELECT max(position) FROM events"))
    assert (replayed.ends, replayed.failed) == (Exit.DONE, {})
    assert [check["check"] for check in replayed.data["checks"]] == list(CHECKS)
    assert all(check["seen"] > 0 for check in replayed.data["checks"])
    assert [(each["projection"], each["passed"], each["position"]) for each in replayed.data["comparisons"]] == [
        (model, True, head) for model in MODELS
    ]
    assert (replayed.data["position"], replayed.data["numbers"]["events"]) == (head, head)


def test_the_numbers_are_those_of_the_log(auditor: Auditor, lived: Database) -> None:
    numbers = auditor.replay().data["numbers"]
    for name, counted in (
        ("transactions", "count(DISTINCT transaction_id) FROM movements"),
        ("lots", "count(DISTINCT lot) FROM movements"),
        ("pools", "count(*) FROM (SELECT DISTINCT kind, holder, currency, resource FROM movements) AS pools"),
    ):
        assert numbers[name] == int(asked(lived, f"SELECT {counted}")), name
    for row in numbers["sums"]:
        of = f"FROM movements WHERE kind = '{row['kind']}' AND currency = '{row['currency']}'"
        for name in ("granted", "debited", "refunded", "voided", "expired"):
            total = asked(
                lived, f"SELECT (coalesce(sum(abs(amount)), 0) * 1000000000)::bigint {of} AND type = 'ledger.{name}'"
            )
            assert row[name] == credits_text(int(total)), (row, name)


def test_several_processes_find_what_one_finds(
    auditor: Auditor, lived: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    harm = "UPDATE events SET transaction_id = (SELECT transaction_id FROM events WHERE position = 2) WHERE type = {}"
    with harmed(lived, "events", harm.format("'ledger.voided'")):
        alone = auditor.replay("--processes", "1")
        monkeypatch.setattr(folding, "ALONE_EVENTS_MAX", 0)
        together = [auditor.replay("--processes", str(processes)) for processes in (2, 3)]
    assert alone.failed
    assert [alike(each) for each in together] == [alike(alone)] * 2
    assert [each.data["processes"] for each in [alone, *together]] == [1, 2, 3]


def test_a_replay_ends_where_it_is_told_to(auditor: Auditor, lived: Database) -> None:
    """At the end of a position's transaction, or with the last event recorded by an instant; what the folds of the read
    models make of the log up to there is compared with it."""
    inside = asked(lived, "SELECT position FROM events WHERE transaction_last > position + 1 ORDER BY position LIMIT 1")
    last = int(asked(lived, f"SELECT transaction_last FROM events WHERE position = {inside}"))
    by_position = auditor.replay("--to", inside)
    assert (by_position.data["position"], by_position.failed) == (last, {})
    assert [(each["passed"], each["position"], each["by"]) for each in by_position.data["comparisons"]] == [
        (True, last, "folded again up to there")
    ] * 3
    by_instant = auditor.replay("--to", START.isoformat())
    reached = int(asked(lived, f"SELECT max(position) FROM events WHERE recorded_at <= '{START.isoformat()}'"))
    assert (by_instant.data["position"], by_instant.failed) == (reached, {})


@pytest.mark.parametrize(
    ("model", "harm", "column"),
    [
        ("lots", "UPDATE {} SET used = used + 1, expired = expired - 1 WHERE expired > 1", "used"),
        ("lots", "UPDATE {} SET priority = priority + 1", "priority"),
        ("lots", "UPDATE {} SET expires_at = expires_at + interval '1 microsecond'", "expires_at"),
        ("lots", "DELETE FROM {} WHERE balance = 0", None),
        ("balances", "UPDATE {} SET granted = granted + 1, debited = debited + 1", "granted"),
        ("balances", "UPDATE {} SET position = position - 1", "position"),
        ("execution_credits", "UPDATE {} SET used = used + 1", "used"),
        ("execution_credits", "UPDATE {} SET lot = credit", "lot"),
    ],
)
def test_a_read_model_that_is_wrong_is_found_and_the_row_is_named(
    auditor: Auditor, lived: Database, model: str, harm: str, column: str | None
) -> None:
    table = asked(lived, f"SELECT name || '_' || version FROM projections WHERE name = '{model}'")
    with harmed(lived, f'"{table}"', harm.format(f'"{table}"')):
        replayed = auditor.replay()
    assert replayed.ends == Exit.FAULT
    assert set(replayed.failed) == {model}
    first = replayed.failed[model]["first"]
    assert (first["table"], first["column"]) == (model, column)
    assert replayed.failed[model]["differences"] > 0


def test_what_a_read_model_leaves_out_is_not_held_against_it(auditor: Auditor, lived: Database) -> None:
    skip = "INSERT INTO projection_skips SELECT 'lots', 3, 'odd', recorded_at, 'me' FROM events WHERE position = 3"
    with harmed(lived, "projection_skips", skip):
        ends, out, _ = auditor.printed()
    assert ends == Exit.DONE
    assert "not compared: it leaves out 1 events, the first at position 3" in out


def test_a_log_that_lost_its_last_events_is_found_by_what_had_folded_them(auditor: Auditor, lived: Database) -> None:
    """However far it is replayed; the log alone is whole up to its new end."""
    head = int(asked(lived, "SELECT max(position) FROM events"))
    end = asked(lived, f"SELECT max(position) FROM events WHERE position = transaction_last AND position < {head - 5}")
    with harmed(lived, "events", f"DELETE FROM events WHERE position > {end}"):
        whole, cut = auditor.replay(), auditor.replay("--to", "30")
        _, out, _ = auditor.printed()
    for replayed in (whole, cut):
        assert (replayed.ends, list(replayed.failed)) == (Exit.FAULT, MODELS)
        assert {each["position"] for each in replayed.failed.values()} == {head}
    assert f"rows at position {head}, beyond the end of the log, {end}" in out


def test_an_earlier_replay_has_the_same_numbers(auditor: Auditor, lived: Database, tmp_path: Path) -> None:
    earlier = tmp_path / "earlier.json"
    told = auditor.replay("--to", "30").data
    earlier.write_text(json.dumps(told))
    again = auditor.replay("--against", str(earlier))
    assert (again.ends, again.data["earlierReplay"]["position"]) == (Exit.DONE, told["position"])
    told["numbers"]["sums"][0]["granted"] = "1"
    earlier.write_text(json.dumps(told))
    other = auditor.replay("--against", str(earlier))
    assert (other.ends, set(other.failed)) == (Exit.FAULT, {"earlier-replay"})
    row = told["numbers"]["sums"][0]
    assert f"granted of {row['kind']} {row['currency']} is " in other.failed["earlier-replay"]["difference"]
    assert other.failed["earlier-replay"]["difference"].endswith("it was 1")


def test_what_no_law_can_tell_is_found_beside_an_earlier_replay(
    auditor: Auditor, lived: Database, tmp_path: Path
) -> None:
    """Who did it, and for which groups, could have been anything; by the hash of the lines it is what it was."""
    earlier = tmp_path / "earlier.json"
    earlier.write_text(json.dumps(auditor.replay("--to", "30").data))
    with harmed(lived, "events", "UPDATE events SET actor_key = 'somebody else' WHERE position = 20"):
        alone, beside = auditor.replay(), auditor.replay("--against", str(earlier))
    assert (alone.ends, alone.failed) == (Exit.DONE, {})
    assert (beside.ends, set(beside.failed)) == (Exit.FAULT, {"earlier-replay"})
    assert beside.failed["earlier-replay"]["difference"].startswith("the SHA-256 of the log is ")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"ledger": "another"}, "--against must be of ledger"),
        ({"position": 10**9}, "beyond"),
        ({"epoch": "another"}, "nothing is left after position 0"),
        ({"numbers": None}, "must be a file that a replay printed"),
    ],
)
def test_an_earlier_replay_that_cannot_be_compared_is_refused(
    auditor: Auditor, tmp_path: Path, change: dict[str, Any], says: str
) -> None:
    earlier = tmp_path / "earlier.json"
    earlier.write_text(json.dumps(auditor.replay("--to", "30").data | change))
    ends, out, err = auditor.printed("--against", str(earlier))
    assert (ends, out) == (Exit.USAGE, "")
    assert says in err


@pytest.mark.parametrize("to", ["0", "1000000", "99999999999999999999", "yesterday", "2026-01-01"])
def test_an_end_that_is_none_is_refused(auditor: Auditor, to: str) -> None:
    ends, out, err = auditor.printed("--to", to)
    assert (ends, out) == (Exit.USAGE, "")
    assert "--to must be" in err


def test_the_report_is_one_page_that_ends_with_the_verdict(auditor: Auditor, lived: Database) -> None:
    ends, out, _ = auditor.printed()
    lines = out.splitlines()
    assert (ends, lines[-1]) == (Exit.DONE, "PASS")
    assert len(lines) < 60
    assert max(map(len, lines)) < 140
    with harmed(lived, "events", "UPDATE events SET recorded_at = recorded_at - interval '1 year' WHERE position = 5"):
        ends, out, _ = auditor.printed()
    assert (ends, out.splitlines()[-1]) == (Exit.FAULT, "FAIL")
    assert "\n      position 5, stream " in out


def test_a_ledger_in_which_nothing_happened_passes(auditor: Auditor, database: Database) -> None:
    replayed = auditor.at(database).replay()
    assert (replayed.ends, replayed.data["position"], replayed.data["recordedAt"]) == (Exit.DONE, 0, None)
    numbers = replayed.data["numbers"]
    assert numbers.pop("sha256").keys() == {"log"}
    assert numbers == {"events": 0, "transactions": 0, "lots": 0, "pools": 0, "sums": []}


@pytest.fixture(scope="module")
def followed(server_dsn: str) -> Any:
    with followed_ledger(server_dsn) as followed:
        yield followed


def test_a_grant_that_ends_with_the_calendar_passes(auditor: Auditor, followed: Followed) -> None:
    grant = {"currency": "credits", "amount": 1, "grant_type": "PAID", "display_name": "for ever"}
    followed.books.issue_grant(holder="last", **grant, expires_at=FOREVER)
    with followed.at_head() as snapshot:
        replayed = auditor.at(followed.database).replay()
    assert (replayed.ends, replayed.failed) == (Exit.DONE, {})
    assert [(each["passed"], each["position"]) for each in replayed.data["comparisons"]] == [
        (True, snapshot.position)
    ] * 3


@settings(max_examples=6, phases=[Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(acts=histories, share=st.floats(0, 1))
def test_random_histories_pass_every_check_wherever_they_are_cut(
    followed: Followed, acts: list[Any], share: float
) -> None:
    """Each example adds its history to the ledger. Each read model is compared where it stands, or where the replay
    ends if it is further."""
    play, middle = Play(followed.books, followed.hands), len(acts) // 2
    play.all(acts[:middle])
    with followed.at_head([LOTS]) as snapshot:
        lots_stand = snapshot.position
    play.all(acts[middle:])
    with followed.at_head([BALANCES, EXECUTION_CREDITS]) as snapshot:
        head = snapshot.position
    whole = replay(followed.database)
    cut = replay(followed.database, to=max(1, round(share * head)))
    assert [each.position for each in whole.comparisons] == [lots_stand, head, head]
    assert [each.position for each in cut.comparisons] == [min(lots_stand, cut.position), cut.position, cut.position]
    for report in (whole, cut):
        assert [check for check in report.checks if check.faults] == []
        assert [each for each in report.comparisons if each.differences] == []
