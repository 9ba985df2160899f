"""Rebuild, roll back and prune while a service answers: nothing that anybody reads changes by it."""

import json
import os
import pty
import re
import select
from collections.abc import Iterator
from typing import Any

import pytest

from ledger.store.database import Database
from projections.read_model import BALANCES, ENTRIES, LOTS, READ_MODELS
from tests.service.load import eventually
from tests.service.operating import SECONDS_MAX, Operated, fill, use
from tests.service.serving import ANSWER_SECONDS_MAX, Service, command, serving

NAMES = [model.name for model in READ_MODELS]
ALL = """
query {
  creditBalanceSummary(input: {customerId: "acme"}) { balances { currencyId currentBalance totalConsumed } }
  creditGrants(input: {customerId: "acme"}) { edges { node { id status amountExact remainingAmount } } }
  creditsLedger(input: {customerId: "acme"}) { totalCount edges { node { amountExact } } }
  creditUsage(input: {customerId: "acme", startDate: "2026-01-01T00:00:00Z", endDate: "2026-02-01T00:00:00Z"}) {
    series { currencyId totalCreditsExact points { timestamp amountExact } }
  }
  grantSchedules(customerId: "acme") { id }
  getAutoRechargeSettings(input: {customerId: "acme", currencyId: "other"}) { isEnabled thresholdValue }
  executionCredits(companyId: "acme") { collection { id credits usedCredits } }
}
"""
RULES = "/license/api/v1/credit-allocation-rules"
LINE = re.compile(r"^entries +(folding|comparing|swapping|paused) +\d+%  [\d,]+ of [\d,]+(  [\d,]+/s  \d+:\d\d left)?$")


@pytest.fixture(scope="module")
def operated(schema: Database) -> Operated:
    return fill(schema)


@pytest.fixture(scope="module")
def service(operated: Operated) -> Iterator[Service]:
    with serving(**operated.settings) as service:
        assert eventually(lambda: at_head(operated), SECONDS_MAX)
        yield service


def at_head(operated: Operated) -> bool:
    told = operated.told("status")
    return told["projections"] != [] and all(each["lagEvents"] == 0 for each in told["projections"] if each["serving"])


def answers(service: Service, operated: Operated) -> list[Any]:
    """What readers are told at the head of the log, of every projection."""
    headers = {"X-Ledger-At-Least": str(operated.head()), "Content-Type": "application/json"}
    rules = service.http.post(RULES, json={}, headers=headers)
    assert (rules.status_code, len(rules.json()["rules"])) == (200, 1)
    return [service.data(ALL, headers), rules.json()]


def test_a_rebuild_changes_no_row_and_no_answer_and_can_be_taken_back(service: Service, operated: Operated) -> None:
    """Old builds stay until they are pruned; the runner follows the one that serves, whichever it is."""
    rows, told = operated.all_rows(), answers(service, operated)
    first = {model.name: operated.serving(model) for model in READ_MODELS}

    done = command("projections", "rebuild", "--all", "--json", **operated.settings)
    assert done.returncode == 0, done.stderr
    rebuilt = json.loads(done.stdout)
    assert [(each["name"], each["replaced"]) for each in rebuilt] == [(name, first[name].build) for name in NAMES]
    assert [each["comparison"]["differing"] for each in rebuilt] == [0] * len(NAMES)
    assert {each["name"]: each["comparison"]["rows_after"] for each in rebuilt} == {
        name: len(found) for name, found in rows.items()
    }
    assert all(operated.serving(model).build == each["build"] for model, each in zip(READ_MODELS, rebuilt, strict=True))
    assert operated.all_rows() == rows
    assert answers(service, operated) == told
    assert {name: operated.rows(build, build) for name, build in first.items()} == rows, "they are kept"

    with operated.books() as books:
        use(books, 20)
    assert eventually(lambda: at_head(operated), SECONDS_MAX)
    after, told = operated.all_rows(), answers(service, operated)
    assert after != rows
    assert {name: operated.rows(build, build) for name, build in first.items()} == rows, "nobody follows what is kept"
    (newest,) = operated.told("rebuild", BALANCES.name)
    back = {name: operated.told("rollback", name)["build"] for name in (BALANCES.name, LOTS.name)}
    assert back == {BALANCES.name: rebuilt[0]["build"], LOTS.name: first[LOTS.name].build}, "the last, not the first"
    assert operated.all_rows() == after, "it has caught up before it serves"
    assert answers(service, operated) == told
    forth = operated.told("rollback", BALANCES.name)
    assert (forth["build"], forth["replaced"]) == (newest["build"], rebuilt[0]["build"])

    tables = operated.tables()
    dropped = operated.told("prune")
    assert [(each["name"], each["stage"]) for each in dropped] == [(name, "kept") for name in (NAMES[0], *NAMES)]
    gone = {f"{each['name']}_{each['build']}" for each in dropped}
    assert len(gone) == len(NAMES) + 1
    assert tables - operated.tables() == gone
    assert gone.isdisjoint(f"{model.name}_{operated.serving(model).build}" for model in READ_MODELS)
    assert operated.told("rollback", BALANCES.name, ends=3)["error"]["code"] == "NothingKept"
    assert operated.all_rows() == after
    assert answers(service, operated) == told
    assert operated.run("prune").stdout == "nothing to drop\n"


@pytest.mark.parametrize(
    ("arguments", "ends", "code"),
    [
        (["rebuild"], 2, "Usage"),
        (["rebuild", "lots", "--all"], 2, "Usage"),
        (["pause"], 2, "Usage"),
        (["resume"], 2, "Usage"),
        (["rollback"], 2, "Usage"),
        (["rebuild", "lots", "nonsense"], 4, "ProjectionNotFound"),
        (["rollback", "nonsense"], 4, "ProjectionNotFound"),
        (["pause", "nonsense"], 4, "ProjectionNotFound"),
        (["resume", "nonsense"], 4, "ProjectionNotFound"),
        (["prune", "nonsense"], 4, "ProjectionNotFound"),
        (["skip", "nonsense", "--position", "1", "--reason", "why"], 4, "ProjectionNotFound"),
        (["skip", "lots", "--position", "1", "--reason", ""], 2, "InvalidArgumentError"),
        (["skip", "lots", "--position", "1"], 2, "Usage"),
        (["rollback", "group_sets"], 3, "NothingKept"),
    ],
    ids=str,
)
def test_what_is_not_there_is_refused_and_nothing_is_done(
    operated: Operated, service: Service, arguments: list[str], ends: int, code: str
) -> None:
    before = operated.registered()
    assert operated.told(*arguments, ends=ends)["error"]["code"] == code
    assert operated.registered() == before


def test_without_a_terminal_progress_is_plain_lines_on_stderr(operated: Operated, service: Service) -> None:
    done = operated.run("rebuild", ENTRIES.name)
    lines = done.stderr.splitlines()
    assert [line for line in lines if not LINE.match(line)] == []
    assert [line.split()[1] for line in lines] == ["folding", "comparing", "swapping"]
    head, rows = operated.head(), len(operated.rows(ENTRIES))
    assert f"{head:,} of {head:,}" in lines[-1]
    serves, same = done.stdout.splitlines()
    assert re.fullmatch(rf"entries: {operated.serving(ENTRIES).build} serves at position {head}, .* is kept", serves)
    assert same == f"entries: {rows:,} rows at position {head}, byte for byte the same"


def test_on_a_terminal_progress_is_a_bar_that_leaves_nothing_behind(operated: Operated, service: Service) -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal, operated.started("rebuild", "entries", stderr=terminal) as process:
        said, _ = process.communicate(timeout=ANSWER_SECONDS_MAX)
    drawn = b""
    while select.select([ours], [], [], 0)[0]:
        try:
            drawn += os.read(ours, 65_536)
        except OSError:  # nobody has the other end open any more
            break
    os.close(ours)
    assert process.returncode == 0
    assert said.startswith("entries: ")
    bars = drawn.decode().split("\r")
    assert [bar.split("] ")[1].split()[1] for bar in bars if bar.startswith("[")] == [
        "folding",
        "comparing",
        "swapping",
    ]
    assert bars[1].startswith("[########################] entries ")
    assert "\n" not in drawn.decode()
    assert bars[-1] == "", "the cursor stands where the bar began"
    assert bars[-2] == " " * max(len(bar) for bar in bars), "and the bar is gone"
