"""Allocation rules from the command line, as an operator meets them."""

import asyncio
import json
from decimal import Decimal

import pytest

from ledger.store.clock import settable_clock
from ledger.store.database import Database
from service.bootstrap import open_ledger
from service.refusals import Exit
from service.threshold_reactor import ThresholdReactor
from tests.service.test_command_line import CONSUME, ISSUE, NOTHING, Ledger
from tests.service.test_command_line_executions import FEBRUARY, JANUARY, LedgerHere, facts, set_clock
from tests.service.test_command_line_executions import OPEN as OPEN_EXECUTION_CREDIT

GROUP = "rules"
DEFINE = (GROUP, "define", "--name")
TERMS = ("--allocated", "100", "--threshold", "80", "--account-group")
INVALID = (Exit.USAGE, "InvalidArgumentError")
NOT_FOUND = (Exit.NOT_FOUND, "AllocationRuleNotFound")
TAKEN = (Exit.REFUSED, "AllocationRuleExists")
NAMED = ("name", "usedCredits", "percentage", "aboveThreshold")


@pytest.fixture(scope="module")
def books(schema: Database) -> Ledger:
    """A ledger on a server whose clock stands in January; no service runs."""
    set_clock(schema, JANUARY)
    return LedgerHere({"database_url": schema.dsn, "schema": schema.schema, "test_clock": "1"})


def use(books: Ledger, customer: str, amount: str, at: str, *groups: str) -> str:
    """Use so many credits at an instant; returns the debit's id."""
    named = [word for group in groups for word in ("--account-group", group)]
    used = books.json(*CONSUME, customer, "--amount", amount, "--key", f"{at} {amount}", "--used-at", at, *named)
    transaction: str = used["transactionId"]
    return transaction


def test_a_rules_story_by_commands_alone(books: Ledger, customer: str) -> None:
    """Each figure follows from the commands before it. A customer's groups are nobody else's; nor is the year."""
    lab, web = f"{customer}-lab", f"{customer}-web"
    year = ("--from", "2024-01-01T00:00:00Z", "--to", "2025-01-01T00:00:00Z")
    listing = (GROUP, "list", "--account-group", lab, "--account-group", web, *year)
    rule = books.json(*DEFINE, f"a {customer}", *TERMS, web, "--account-group", lab)
    assert rule == {
        "id": rule["id"], "name": f"a {customer}", "accountGroups": [web, lab], "allocatedCredits": 100,
        "alarmThreshold": 80, "currencyId": None, "createdAt": "2026-01-31T12:00:00.000Z", "removedAt": None,
    }  # fmt: skip
    other = books.json(*DEFINE, f"b {customer}", *TERMS, lab, "--currency", "other")
    books.json(*ISSUE, customer, "--amount", "500")
    books.json(*ISSUE, customer, "--amount", "40", "--currency", "other")
    use(books, customer, "79.999999999", "2024-05-01T00:00:00Z", lab, web)
    found = books.json(*listing)
    assert [facts(each, *NAMED) for each in found] == [
        [f"a {customer}", "79.999999999", 79, False],
        [f"b {customer}", "0",             0, False],
    ]  # fmt: skip
    assert found[0].items() >= {name: rule[name] for name in rule if name != "removedAt"}.items()
    debit = use(books, customer, "170.000000001", "2024-06-01T00:00:00Z", web)
    assert [each["name"] for each in books.json(*listing, "--above")] == [f"a {customer}"]
    assert [each["name"] for each in books.json(*listing, "--below")] == [f"b {customer}"]
    use(books, customer, "1", "2024-07-01T00:00:00Z")
    assert books.json(GROUP, "summary", *year) == {"purchased": "0", "usage": "251"}
    assert facts(books.json(*listing, "--above")[0], *NAMED[1:]) == ["250", 250, True]
    books.json("credits", "refund", debit, "--amount", "70", "--key", "back")
    (listed,) = books.json(*listing, "--name", f"a {customer}")
    assert facts(listed, *NAMED[1:]) == ["180", 180, True]

    changed = books.json(GROUP, "change", rule["id"], "--allocated", "1000", "--account-group", web)
    assert changed == rule | {"allocatedCredits": 1000, "accountGroups": [web]}
    shown = {name: changed[name] for name in changed if name != "removedAt"} | {"thresholdsReached": []}
    assert books.json(GROUP, "show", rule["id"].upper()) == shown
    assert facts(books.json(*listing)[0], *NAMED[1:]) == ["180", 18, False]
    names = [f"a {customer}", f"b {customer}"]
    assert [name for name in books.json(GROUP, "names") if customer in name] == names
    removed = books.json(GROUP, "remove", other["id"])
    assert removed == other | {"removedAt": "2026-01-31T12:00:00.000Z"}
    assert [each["name"] for each in books.json(*listing)] == names[:1]
    assert [name for name in books.json(GROUP, "names") if customer in name] == names[:1]
    assert books.json(*DEFINE, f"b {customer}", *TERMS, lab)["id"] != other["id"]


USES = {
    1: "2026-01-31T12:00:00Z",
    2: "2026-01-31T11:30:00Z",
    4: "2026-01-31T11:00:00Z",
    8: "2026-01-31T00:00:00Z",
    16: "2026-01-24T12:00:00Z",
    32: "2026-01-01T00:00:00Z",
    64: "2025-12-31T12:00:00Z",
    128: "2025-01-31T12:00:00Z",
    256: "2025-01-31T11:59:59.999999Z",
    512: "1969-12-31T23:59:59.999999Z",
}
"""So many credits at these instants: a sum tells which of them are in it. The last one is before all windows."""
WINDOWS = [
    ((),                                                                          127),
    (("--last", "1 hour"),                                                          7),
    (("--last", "1 day"),                                                          15),
    (("--last", "1 week"),                                                         31),
    (("--last", "1 month"),                                                       127),
    (("--last", "12 months"),                                                     255),
    (("--last", "999999999 years"),                                               511),
    (("--this", "hour"),                                                            1),
    (("--this", "day"),                                                            15),
    (("--this", "month"),                                                          63),
    (("--this", "year"),                                                           63),
    (("--from", "2026-01-24T12:00:00Z", "--to", "2026-01-31T12:00:00Z"),           30),
    (("--from", "2026-01-31T12:30:00+01:00", "--to", "2026-01-31T12:00:00.000001Z"), 3),
    (("--from", "0001-01-01T00:00:00Z", "--to", "9999-12-31T23:59:59Z"),          511),
    (("--from", "1960-01-01T00:00:00Z", "--to", "1970-01-01T00:00:00Z"),            0),
]  # fmt: skip


def test_every_way_to_tell_a_window_counts_what_was_used_in_it(books: Ledger, customer: str) -> None:
    """Takes some seconds: each use and each list is a command that opens the ledger."""
    books.json(*ISSUE, customer, "--amount", "1023")
    books.json(*DEFINE, customer, *TERMS, customer)
    for amount, at in USES.items():
        use(books, customer, str(amount), at, customer)
    told = [books.json(GROUP, "list", "--name", customer, *window)[0]["usedCredits"] for window, _ in WINDOWS]
    assert told == [str(used) for _, used in WINDOWS]


def test_a_command_sent_twice_with_its_key_happens_once(books: Ledger, customer: str) -> None:
    defining = (*DEFINE, customer, *TERMS, "g", "--key", f"{customer}-define")
    rule = books.json(*defining)
    changing = (GROUP, "change", rule["id"], "--key", "change", "--threshold", "50")
    changed = books.json(*changing)
    removing = (GROUP, "remove", rule["id"], "--key", "remove")
    removed = books.json(*removing)
    assert [books.json(*again) for again in (defining, changing, removing)] == [rule, changed, removed]
    assert (changed["alarmThreshold"], removed["alarmThreshold"]) == (50, 50)
    ended, error = books.error(*defining, "--account-group", "h", "--allocated", "7", "--threshold", "8")
    assert (ended, error["code"], error["differing"]) == (
        Exit.REFUSED, "IdempotencyKeyReused", ["--account-group", "--threshold", "--allocated"],
    )  # fmt: skip


def test_what_is_turned_down_says_so_by_its_exit_code(books: Ledger, customer: str) -> None:
    rule = books.json(*DEFINE, customer, *TERMS, "g")["id"]
    other = books.json(*DEFINE, f"{customer}-2", *TERMS, "g")["id"]
    gone = books.json(*DEFINE, f"{customer}-3", *TERMS, "g")["id"]
    books.json(GROUP, "remove", gone)
    change, listing = (GROUP, "change"), (GROUP, "list")
    cases: list[tuple[tuple[str, ...], tuple[Exit, str], str | None]] = [
        ((*DEFINE, "", *TERMS, "g"),                                 INVALID,   "--name"),
        ((*DEFINE, "n", *TERMS, ""),                                 INVALID,   "--account-group"),
        ((*DEFINE, "n", *TERMS, "g", "--account-group", "g"),        INVALID,   "--account-group"),
        ((*DEFINE, "n", *TERMS, "g", "--allocated", "-1"),           INVALID,   "--allocated"),
        ((*DEFINE, "n", *TERMS, "g", "--allocated", "2147483648"),   INVALID,   "--allocated"),
        ((*DEFINE, "n", *TERMS, "g", "--threshold", "101"),          INVALID,   "--threshold"),
        ((*DEFINE, "n", *TERMS, "g", "--currency", ""),              INVALID,   "--currency"),
        ((*DEFINE, "n", *TERMS, "g", "--key", ""),                   INVALID,   "--key"),
        ((*DEFINE, customer, *TERMS, "g"),                           TAKEN,     None),
        ((*change, other, "--name", customer),                       TAKEN,     None),
        ((*change, rule, "--threshold", "-1"),                       INVALID,   "--threshold"),
        ((*change, "", "--name", "n"),                               INVALID,   "RULE"),
        ((*change, gone, "--name", "n"),                             NOT_FOUND, None),
        ((*change, "no-id", "--name", "n"),                          NOT_FOUND, None),
        ((GROUP, "remove", gone),                                    NOT_FOUND, None),
        ((GROUP, "remove", NOTHING),                                 NOT_FOUND, None),
        ((GROUP, "show", gone),                                      NOT_FOUND, None),
        ((GROUP, "show", "no-id"),                                   NOT_FOUND, None),
        ((GROUP, "show", ""),                                        INVALID,   "RULE"),
        ((*listing, "--name", "\udcff"),                             INVALID,   "--name"),
        ((*listing, "--account-group", "\udcff"),                    INVALID,   "--account-group"),
        ((*listing, "--last", "0 months"),                           INVALID,   "--last"),
        ((*listing, "--last", "1 decade"),                           INVALID,   "--last"),
        ((*listing, "--from", "2026-01-01", "--to", "2027-01-01"),   INVALID,   "--from"),
        ((*listing, "--from", "2026-01-01T00:00Z", "--to", "2026"),  INVALID,   "--to"),
        ((*listing, "--from", "2026-01-01T00:00Z", "--to", "2026-01-01T00:00Z"), INVALID, "--from"),
        ((*listing, "--from", "2026-01-01T00:00Z"),                  (Exit.USAGE, "Usage"), None),
        ((*listing, "--to", "2026-01-01T00:00Z"),                    (Exit.USAGE, "Usage"), None),
        ((GROUP, "summary", "--this", "month", "--last", "1 month"), (Exit.USAGE, "Usage"), None),
        ((GROUP, "summary", "--this", "week"),                       (Exit.USAGE, "Usage"), None),
    ]  # fmt: skip
    told = []
    for arguments, *_ in cases:
        ended, error = books.error(*arguments)
        told.append(((ended, error["code"]), error.get("field")))
    assert told == [(ends, field) for _, ends, field in cases]


def test_for_people_there_are_tables_and_talk_stays_on_stderr(books: Ledger, customer: str) -> None:
    def told(*arguments: str) -> list[list[str]]:
        done = books.run(GROUP, *arguments)
        assert (done.returncode, done.stderr) == (Exit.DONE, "")
        return [line.split() for line in done.stdout.splitlines()]

    titles = ["rule", "name", "groups", "currency", "allocated", "threshold"]
    books.json(*ISSUE, customer, "--amount", "10")
    first, line = told("define", "--name", customer, "--account-group", "g", *TERMS, customer)
    assert (first, line[1:]) == (titles, [customer, f"g,{customer}", "-", "100", "80"])
    assert told("show", line[0]) == [titles, line]
    use(books, customer, "1.5", "2026-01-31T12:00:00Z", customer)
    assert told("list", "--name", customer) == [
        [*titles, "used", "percent", "above"],
        [*line, "1.5", "1", "no"],
    ]
    assert [customer] in told("names")
    assert told("summary", "--from", "2020-01-01T00:00Z", "--to", "2021-01-01T00:00Z") == [
        ["purchased", "usage"], ["0", "0"],
    ]  # fmt: skip


def test_a_rule_is_shown_with_the_months_in_which_its_threshold_was_reached(
    schema: Database, books: Ledger, customer: str
) -> None:
    """With the figures of that instant, whatever became of them; a rule that has not reached it shows none."""
    rule = books.json(*DEFINE, customer, *TERMS, customer)["id"]
    books.json(*ISSUE, customer, "--amount", "1000")
    debit = use(books, customer, "80.5", "2026-01-31T12:00:00Z", customer)
    use(books, customer, "79.999999999", "2025-11-30T12:00:00Z", customer)
    use(books, customer, "90", "2025-12-31T12:00:00Z", customer)
    back = books.json("credits", "refund", debit, "--key", "back")
    books.json(GROUP, "change", rule, "--allocated", "10000")
    with open_ledger(schema.dsn, schema=schema.schema, clock=settable_clock(), migrating=False) as running:
        asyncio.run(ThresholdReactor(running.ledger, running.reader).act())
    reached = books.json(GROUP, "show", rule)["thresholdsReached"]
    named = ("month", "usedCredits", "allocatedCredits", "alarmThreshold", "reachedAt")
    assert [facts(crossing, *named) for crossing in reached] == [
        ["2026-01", "80.5", 100, 80, "2026-01-31T12:00:00.000Z"],
        ["2025-12", "90",   100, 80, "2026-01-31T12:00:00.000Z"],
    ]  # fmt: skip
    assert int(reached[0]["position"]) < int(reached[1]["position"]) < int(back["position"])
    *_, between, titles, first, _ = (line.split() for line in books.run(GROUP, "show", rule).stdout.splitlines())
    assert (between, titles) == ([], ["month", "used", "allocated", "threshold", "position", "at"])
    assert first == ["2026-01", "80.5", "100", "80", reached[0]["position"], "2026-01-31T12:00:00.000Z"]


def test_a_list_that_is_cut_says_so(books: Ledger, customer: str) -> None:
    for name in ("2", "1"):
        books.json(*DEFINE, f"{customer}-{name}", *TERMS, customer)
    listing = (GROUP, "list", "--account-group", customer, "--json", "--limit")

    def told(limit: str) -> tuple[list[str], bool]:
        done = books.run(*listing, limit)
        return [each["name"] for each in json.loads(done.stdout)], "more than 1" in done.stderr

    assert told("1") == ([f"{customer}-1"], True)
    assert told("2") == ([f"{customer}-1", f"{customer}-2"], False)


def test_a_summary_knows_what_has_fallen_due_though_nobody_wrote_it(
    schema: Database, books: Ledger, customer: str
) -> None:
    """Moves the clock, so it is the last: at the renewal a billing period with the whole allotment begins."""
    before = _summary(books, "--this", "hour")
    books.json(*OPEN_EXECUTION_CREDIT, customer, "--credits", "10", "--rollup", "MONTHLY")
    assert _summary(books, "--this", "hour")["purchased"] == before["purchased"] + 10
    set_clock(schema, FEBRUARY)
    assert _summary(books, "--this", "hour")["purchased"] == before["purchased"] + 10
    assert _summary(books, "--this", "month")["purchased"] == before["purchased"] + 20


def _summary(books: Ledger, *window: str) -> dict[str, Decimal]:
    return {name: Decimal(amount) for name, amount in books.json(GROUP, "summary", *window).items()}
