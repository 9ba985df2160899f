"""Execution credits from the command line, as an operator meets them."""

import io
import json
import re
import subprocess
from contextlib import redirect_stderr, redirect_stdout
from datetime import UTC, datetime
from typing import Any

import pytest

from ledger.domain.instants import Instant
from ledger.store.clock import set_test_clock
from ledger.store.database import Database, Role
from service.cli.frame import run
from service.cli.main import cli
from service.refusals import Exit
from tests.service.test_command_line import CONSUME, ISSUE, NOTHING, Ledger

JANUARY = datetime(2026, 1, 31, 12, tzinfo=UTC)
FEBRUARY = datetime(2026, 2, 28, 12, tzinfo=UTC)
APRIL = datetime(2026, 4, 30, 12, tzinfo=UTC)
GROUP = "execution-credits"
OPEN = (GROUP, "open", "--type", "AI_PENTEST", "--company")
ONE = ("--credits", "1", "--rollup", "YEARLY")
DEBIT = (GROUP, "debit", "--type", "AI_PENTEST", "--company")
INVALID = (Exit.USAGE, "InvalidArgumentError")
NOT_FOUND = (Exit.NOT_FOUND, "ExecutionCreditNotFound")
DELETED = (Exit.REFUSED, "ExecutionCreditDeleted")


class LedgerHere(Ledger):
    """A ledger asked by commands that run in this process, which is quicker than a process for each."""

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as environment, redirect_stdout(out), redirect_stderr(err):
            for name, value in self.settings.items():
                environment.setenv(f"LEDGER_{name.upper()}", value)
            ended = run(cli, arguments)
        return subprocess.CompletedProcess(arguments, ended, out.getvalue(), err.getvalue())


@pytest.fixture(scope="module")
def books(schema: Database) -> Ledger:
    """A ledger on a server whose clock stands in January; no service runs, so nobody writes a renewal but commands."""
    set_clock(schema, JANUARY)
    return LedgerHere({"database_url": schema.dsn, "schema": schema.schema, "test_clock": "1"})


def set_clock(schema: Database, instant: Instant) -> None:
    with schema.connect(Role.WRITER) as connection:
        set_test_clock(connection, instant)


def renewals(schema: Database) -> int:
    """How many renewals are in the log."""
    with schema.connect(Role.READER) as connection:
        return len(connection.execute("SELECT 1 FROM movements WHERE cause = 'RENEWED'").fetchall())


def facts(data: Any, *names: str) -> list[Any]:
    return [data[name] for name in names]


def by_id(*credits: Any) -> list[Any]:
    return sorted(credits, key=lambda credit: credit["id"])


def parts(transactions: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    return [(part["transactionType"], part["executionCreditId"], part["credits"]) for part in transactions]


def test_a_companys_story_by_commands_alone(books: Ledger, customer: str) -> None:
    """Each figure follows from the commands before it. Credits of one instant are listed by their ids."""
    monthly = books.json(*OPEN, customer, "--credits", "10", "--rollup", "MONTHLY", "--label", "Acme Ltd")
    assert monthly == {
        "id": monthly["id"], "company": {"id": customer, "label": "Acme Ltd"}, "companyId": customer,
        "creditType": "AI_PENTEST", "rollupType": "MONTHLY", "nextRollupType": None, "credits": "10",
        "usedCredits": "0", "periodAnchor": "2026-01-31T12:00:00.000Z", "renewsAt": "2026-02-28T12:00:00.000Z",
        "createdAt": "2026-01-31T12:00:00.000Z", "updatedAt": "2026-01-31T12:00:00.000Z", "deletedAt": None,
    }  # fmt: skip
    addon = books.json(*OPEN, customer, "--credits", "5", "--rollup", "ADDON")
    assert facts(addon, "company", "renewsAt") == [{"id": customer, "label": customer}, None]

    used = books.json(*DEBIT, customer, "--credits", "12", "--key", "run", "--project", "p-7", "--account-group", "g")
    assert parts(used["transactions"]) == [("DEBIT", monthly["id"], "10"), ("DEBIT", addon["id"], "2")]
    assert {part["projectId"] for part in used["transactions"]} == {"p-7"}
    assert {part["transactionId"] for part in used["transactions"]} == {used["transactionId"]}
    back = books.json(GROUP, "refund", used["transactionId"], "--credits", "3", "--key", "back")
    assert parts(back["transactions"]) == [("REFUND", addon["id"], "2"), ("REFUND", monthly["id"], "1")]
    assert back["credits"] == "3"

    shown = books.json(GROUP, "show", monthly["id"])
    assert parts(shown.pop("transactions")) == [("REFUND", monthly["id"], "1"), ("DEBIT", monthly["id"], "10")]
    assert shown == monthly | {"usedCredits": "9"}
    rest = books.json(GROUP, "refund", used["transactionId"], "--key", "rest")
    assert rest["credits"] == "9"

    changed = books.json(GROUP, "update", monthly["id"], "--credits", "20", "--rollup", "QUARTERLY")
    assert facts(changed, "credits", "rollupType", "nextRollupType") == ["20", "MONTHLY", "QUARTERLY"]
    kept = books.json(GROUP, "update", monthly["id"], "--rollup", "MONTHLY")
    assert facts(kept, "credits", "nextRollupType") == ["20", None]
    assert books.json(GROUP, "list", "--company", customer) == by_id(kept, addon)
    assert books.json(GROUP, "list", "--company", customer, "--rollup", "ADDON") == [addon]
    assert books.json(GROUP, "list", "--company", customer, "--type", "DAST") == []

    deleted = books.json(GROUP, "delete", addon["id"])
    assert deleted["deletedAt"] == "2026-01-31T12:00:00.000Z"
    assert books.json(GROUP, "list", "--company", customer) == [kept]
    shown = books.json(GROUP, "show", addon["id"])
    assert (len(shown.pop("transactions")), shown) == (2, deleted)


def test_a_command_sent_twice_with_its_key_happens_once(books: Ledger, customer: str) -> None:
    anchor = "2025-06-30T12:00:00.000Z"
    opening = (*OPEN, customer, "--rollup", "YEARLY", "--anchor-at", anchor, "--key", "open", "--credits")
    credit = books.json(*opening, "10")
    assert facts(credit, "periodAnchor", "renewsAt") == [anchor, "2026-06-30T12:00:00.000Z"]
    assert books.json(*opening, "10.0") == credit
    ended, error = books.error(*opening, "11")
    assert (ended, error["code"], error["differing"]) == (Exit.REFUSED, "IdempotencyKeyReused", ["--credits"])
    use = (*DEBIT, customer, "--key", "use", "--credits")
    first, again = books.json(*use, "4"), books.json(*use, "4")
    assert (first["replayed"], again) == (False, first | {"replayed": True})
    assert books.error(*use, "4", "--account-group", "g", "--project", "p")[1]["differing"] == [
        "--account-group", "--project",
    ]  # fmt: skip
    back = (GROUP, "refund", first["transactionId"], "--key", "back")
    assert [books.json(*back)["replayed"], books.json(*back)["replayed"]] == [False, True]
    raised = (GROUP, "update", credit["id"], "--credits", "12", "--key", "raise")
    assert books.json(*raised) == books.json(*raised)
    gone = (GROUP, "delete", credit["id"], "--key", "gone")
    deleted = books.json(*gone)
    assert deleted == books.json(*gone)
    assert facts(deleted, "usedCredits", "renewsAt") == ["0", None]
    assert books.json(*opening, "10") == credit
    assert [period["granted"] for period in books.json(GROUP, "periods", credit["id"])] == ["12"]


def test_what_is_turned_down_says_so_by_its_exit_code(books: Ledger, customer: str) -> None:
    monthly = books.json(*OPEN, customer, "--credits", "10", "--rollup", "MONTHLY")["id"]
    books.json(*DEBIT, customer, "--credits", "4", "--key", "use")
    gone = books.json(*OPEN, customer, "--credits", "10", "--rollup", "ADDON")["id"]
    books.json(GROUP, "delete", gone)
    books.json(*ISSUE, customer, "--amount", "5")
    granted = books.json(*CONSUME, customer, "--amount", "1", "--key", "use")["transactionId"]
    cases = [
        ((*OPEN, "", *ONE),                                         INVALID,                             "--company"),
        ((*OPEN, "c", "--credits", "0", "--rollup", "ADDON"),       INVALID,                             "--credits"),
        ((*OPEN, "c", "--credits", "1.5", "--rollup", "ADDON"),     INVALID,                             "--credits"),
        ((*OPEN, "c", *ONE, "--label", ""),                         INVALID,                             "--label"),
        ((*OPEN, "c", *ONE, "--anchor-at", "2026-01-01"),           INVALID,                             "--anchor-at"),
        ((*OPEN, "c", *ONE, "--anchor-at", "2099-01-01T00:00:00Z"), INVALID,                             "--anchor-at"),
        ((*OPEN, customer, *ONE),                                   (Exit.REFUSED, "ExecutionCreditExists"), None),
        ((GROUP, "update", monthly),                                INVALID,                             "input"),
        ((GROUP, "update", "", "--credits", "1"),                   INVALID,                             "CREDIT"),
        ((GROUP, "update", monthly, "--credits", "3"),              (Exit.REFUSED, "CreditsBelowUsed"),  None),
        ((GROUP, "update", monthly, "--rollup", "ADDON"),           (Exit.REFUSED, "RollupTypeStays"),   None),
        ((GROUP, "update", gone, "--credits", "3"),                 DELETED,                             None),
        ((GROUP, "update", NOTHING, "--credits", "3"),              NOT_FOUND,                           None),
        ((GROUP, "delete", gone),                                   DELETED,                             None),
        ((GROUP, "delete", "no-id"),                                NOT_FOUND,                           None),
        ((*DEBIT, customer, "--credits", "7", "--key", "k"),        (Exit.REFUSED, "InsufficientCredits"), None),
        ((*DEBIT, customer, "--credits", "1", "--key", ""),         INVALID,                             "--key"),
        ((*DEBIT, "c", "--credits", "1", "--key", "k", "--project", "\udcff"), INVALID,                  "--project"),
        ((GROUP, "refund", granted, "--key", "k"),                  (Exit.NOT_FOUND, "TransactionNotFound"), None),
        ((GROUP, "list", "--company", "\udcff"),                    INVALID,                             "--company"),
        ((GROUP, "show", NOTHING),                                  NOT_FOUND,                           None),
        ((GROUP, "periods", "no-id"),                               NOT_FOUND,                           None),
    ]  # fmt: skip
    told = []
    for arguments, *_ in cases:
        ended, error = books.error(*arguments)
        told.append(((ended, error["code"]), error.get("field")))
    assert told == [(ends, field) for _, ends, field in cases]


def test_a_debit_that_is_not_covered_is_told_in_the_words_of_the_contract(books: Ledger, customer: str) -> None:
    nothing = books.run(*DEBIT, customer, "--credits", "1", "--key", "k")
    assert (nothing.returncode, nothing.stdout) == (Exit.REFUSED, "")
    assert nothing.stderr == (
        "error: Insufficient credits: no available recurrent balance and no ADDON pool found for AI_PENTEST\n"
    )
    books.json(*OPEN, customer, "--credits", "3", "--rollup", "ADDON")
    _, error = books.error(*DEBIT, customer, "--credits", "5", "--key", "k")
    assert error["message"] == "Insufficient credits: 5 requested, 3 available for AI_PENTEST"
    assert facts(error, "requestedExact", "availableExact", "shortfallExact") == ["5", "3", "2"]


def test_for_people_there_are_tables_and_talk_stays_on_stderr(books: Ledger, customer: str) -> None:
    def told(*arguments: str) -> tuple[list[list[str]], str]:
        done = books.run(GROUP, *arguments)
        assert done.returncode == Exit.DONE, done.stderr
        return [line.split() for line in done.stdout.splitlines()], done.stderr

    (titles, line), talk = told("open", "--company", customer, "--type", "DAST", "--credits", "4", "--rollup", "YEARLY")
    assert titles == ["credit", "company", "type", "rollup", "then", "credits", "used", "renews", "deleted"]
    assert line[1:] == [customer, "DAST", "YEARLY", "-", "4", "0", "2027-01-31T12:00:00.000Z", "-"]
    credit = line[0]
    (_, part), talk = told("debit", "--company", customer, "--type", "DAST", "--credits", "1", "--key", "1")
    assert part[1:] == [credit, "DEBIT", "1", "-", "2026-01-31T12:00:00.000Z"]
    assert re.fullmatch(rf"transaction {part[0]}, position \d+\n", talk)
    told("debit", "--company", customer, "--type", "DAST", "--credits", "2", "--key", "2", "--project", "p")
    (_, shown, between, titles, *transactions), talk = told("show", credit)
    assert (shown, between, talk) == ([*line[:6], "3", *line[7:]], [], "")
    assert titles == ["transaction", "credit", "what", "credits", "project", "at"]
    assert [each[2:5] for each in transactions] == [["DEBIT", "2", "p"], ["DEBIT", "1", "-"]]
    (*_, transaction), talk = told("show", credit, "--limit", "1")
    assert (transaction, talk) == (transactions[0], "there are more than 1: give a larger --limit\n")
    (titles, period), _ = told("periods", credit)
    assert titles == ["start", "end", "granted", "used", "lapsed", "voided", "left"]
    assert period == ["2026-01-31T12:00:00.000Z", "2027-01-31T12:00:00.000Z", "4", "3", "0", "0", "1"]


def test_a_list_that_is_cut_says_so(books: Ledger, customer: str) -> None:
    opened = by_id(*(books.json(*OPEN, customer, "--credits", "1", "--rollup", each) for each in ("ADDON", "YEARLY")))
    done = books.run(GROUP, "list", "--company", customer, "--limit", "1", "--json")
    assert (json.loads(done.stdout), "more than 1" in done.stderr) == (opened[:1], True)
    done = books.run(GROUP, "list", "--company", customer, "--limit", "2", "--json")
    assert (json.loads(done.stdout), done.stderr) == (opened, "")


def test_every_read_is_right_at_the_instant_of_a_renewal_that_nobody_has_written(
    schema: Database, books: Ledger, customer: str
) -> None:
    """Moves the clock: the tests before it stand in January, what is after it in April.

    The periods of a credit that slept are there as soon as somebody asks for them, each once.
    """
    credit = books.json(*OPEN, customer, "--credits", "10", "--rollup", "MONTHLY")
    other = books.json(GROUP, "open", "--company", customer, "--type", "DAST", "--credits", "7", "--rollup", "MONTHLY")
    books.json(*OPEN, customer, "--credits", "5", "--rollup", "ADDON")
    used = books.json(*DEBIT, customer, "--credits", "6", "--key", "january")
    books.json(GROUP, "update", credit["id"], "--rollup", "QUARTERLY")
    before = renewals(schema)
    set_clock(schema, FEBRUARY)
    turned = ["QUARTERLY", None, "10", "0", "2026-05-31T12:00:00.000Z", "2026-02-28T12:00:00.000Z"]
    named = ("rollupType", "nextRollupType", "credits", "usedCredits", "renewsAt", "updatedAt")
    assert facts(books.json(GROUP, "show", credit["id"]), *named) == turned
    (listed,) = books.json(GROUP, "list", "--company", customer, "--rollup", "QUARTERLY")
    assert facts(listed, *named) == turned
    assert renewals(schema) == before

    set_clock(schema, APRIL)
    books.json(GROUP, "refund", used["transactionId"], "--credits", "2", "--key", "late")
    names = ("startsAt", "endsAt", "granted", "used", "lapsed", "voided", "left")
    first, second, third, fourth, fifth = (
        f"2026-{day}T12:00:00.000Z" for day in ("01-31", "02-28", "03-31", "04-30", "05-31")
    )
    assert [facts(period, *names) for period in books.json(GROUP, "periods", credit["id"])] == [
        [first,  second, "10", "4", "6", "0", "0"],
        [second, fifth,  "10", "0", "0", "0", "10"],
    ]  # fmt: skip
    asked = [[facts(period, *names) for period in books.json(GROUP, "periods", other["id"])] for _ in range(2)]
    assert asked == [[
        [first,  second, "7", "0", "7", "0", "0"],
        [second, third,  "7", "0", "7", "0", "0"],
        [third,  fourth, "7", "0", "7", "0", "0"],
        [fourth, fifth,  "7", "0", "0", "0", "7"],
    ]] * 2  # fmt: skip
    books.json(GROUP, "update", other["id"], "--credits", "9")
    books.json(GROUP, "delete", other["id"])
    assert facts(books.json(GROUP, "periods", other["id"])[-1], *names) == [fourth, fifth, "9", "0", "0", "9", "0"]
