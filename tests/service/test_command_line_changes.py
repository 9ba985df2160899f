"""Grants that change, schedules and recharges from the command line, as an operator does them."""

from typing import Any

import pytest

from ledger.store.database import Database
from service.refusals import Exit
from tests.service.test_command_line import ISSUE, NOTHING, Ledger, ledger_on

SCHEDULE = ("schedules", "create", "--currency", "credits", "--name", "Plan", "--period", "MONTH", "--customer")
RECHARGE = ("recharge", "save", "--currency", "credits", "--customer")


@pytest.fixture(scope="module")
def books(schema: Database) -> Ledger:
    return ledger_on(schema)


def facts(data: Any, *names: str) -> list[Any]:
    return [data[name] for name in names]


def test_a_grant_gets_other_terms_and_its_end_is_taken_away(books: Ledger) -> None:
    grant = books.json(*ISSUE, "terms", "--amount", "5", "--expire-at", "2199-01-01T00:00:00Z", "--comment", "first")
    changed = books.json("grants", "update", grant["grantId"], "--priority", "3", "--name", "April", "--no-expiry")
    named = ("id", "displayName", "priority", "expireAt", "comment", "amount")
    assert facts(changed, *named) == [grant["id"], "April", "3", None, "first", "5"]
    assert books.json("grants", "update", grant["id"], "--no-comment")["comment"] is None
    ends, error = books.error("grants", "update", grant["id"], "--expire-at", "2199-01-01T00:00:00Z", "--no-expiry")
    assert (ends, error["field"]) == (Exit.USAGE, "--expire-at")
    assert books.error("grants", "update", NOTHING, "--priority", "3")[0] == Exit.NOT_FOUND
    ends, error = books.error("grants", "update", grant["id"])
    assert (ends, error["code"]) == (Exit.USAGE, "InvalidArgumentError")


def test_a_grant_waits_for_its_payment_until_it_is_recorded(books: Ledger) -> None:
    unpaid = books.json(*ISSUE, "payer", "--amount", "5", "--cost", "9.90", "--payment", "INVOICE")
    assert facts(unpaid, "status", "paymentCollection") == ["PENDING", "PROCESSING"]
    told = ("grants", "record-payment", unpaid["id"])
    failed = books.json(*told, "--state", "FAILED", "--invoice", "in-7", "--invoice-status", "OPEN")
    assert facts(failed, "status", "paymentCollection") == ["PENDING", "FAILED"]
    assert books.error(*told, "--state", "FAILED", "--invoice", "in-7")[1]["field"] == "--invoice"
    paid = books.json("grants", "mark-invoice-paid", unpaid["grantId"])
    assert facts(paid, "status", "paymentCollection") == ["ACTIVE", "NOT_REQUIRED"]


def test_a_schedule_grants_at_once_and_stops_when_it_is_ended(books: Ledger) -> None:
    rolling = ("--cost", "12", "--rollover-periods", "2", "--rollover-max", "2.5")
    schedule = books.json(*SCHEDULE, "subscriber", "--amount", "10", *rolling)
    assert schedule["rollover"] == {"maxAmount": "2.5", "expiresAfterPeriods": 2}
    assert schedule["cost"] == {"amount": "12", "currency": "USD"}
    (grant,) = books.json("grants", "list", "--customer", "subscriber")
    assert facts(grant, "grantType", "amount", "displayName") == ["SUBSCRIPTION", "10", "Plan"]
    assert grant["expireAt"] == schedule["nextGrantAt"]
    assert books.json("schedules", "list", "--customer", "subscriber") == [schedule]
    ended = books.json("schedules", "end", schedule["id"])
    assert ended["nextGrantAt"] is None
    assert ended["endedAt"] is not None
    assert books.error("schedules", "end", schedule["id"])[1]["code"] == "GrantScheduleNotFound"
    ends, error = books.error(*SCHEDULE, "subscriber", "--amount", "10", "--rollover-max", "1")
    assert (ends, error["field"]) == (Exit.USAGE, "--rollover-periods")


def test_a_recharge_is_saved_whole_and_shown_with_what_it_has_cost(books: Ledger) -> None:
    prices = ("--threshold", "20", "--target", "100", "--unit-price", "0.1", "--max-spend", "50", "--lasts", "ONE_YEAR")
    saved = books.json(*RECHARGE, "runner", *prices)
    named = ("isEnabled", "thresholdValue", "targetBalance", "maxSpendLimit", "unitPrice", "currentMonthlySpend")
    assert facts(saved, *named) == [True, "20", "100", "50", "0.1", "0"]
    assert books.json("recharge", "show", "--customer", "runner", "--currency", "credits") == saved
    off = books.json(*RECHARGE, "runner", "--disabled")
    assert facts(off, *named) == [False, None, None, None, "0", "0"]
    assert off["id"] == saved["id"]
    assert books.json("recharge", "show", "--customer", "nobody", "--currency", "credits") is None
    ends, error = books.error(*RECHARGE, "runner", "--threshold", "20", "--target", "19")
    assert (ends, error["field"]) == (Exit.USAGE, "--target")
