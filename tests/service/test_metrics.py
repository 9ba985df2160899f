"""What Prometheus reads on /metrics: right to the last command and event, bounded, and no burden to the service."""

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from copy import copy
from dataclasses import replace
from typing import Any

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as plain_text

from ledger.application import BlockingLedger, ConsumeCredits, CreditLedger
from ledger.application.limits import WriterLimits
from ledger.application.watching import BatchDone
from ledger.domain.events import EVENT_TYPES
from ledger.store.database import Database, Role
from projections.reading import CONNECTIONS_MAX, Reader
from projections.registry import prepare
from projections.status import Overview, ProjectionStatus, State
from service import frame
from service.app import build_app
from service.bootstrap import RunningLedger
from service.metrics import Metrics, Scrape
from service.reads import Threads
from service.refusals import ANSWERS, FAULT_CODE
from service.server import parts_of
from service.settings import read_settings
from service.webhooks.courier import Tally
from tests.faults.bookkeeping import issue_grants
from tests.faults.cutting_proxy import CuttingProxy, Moment
from tests.faults.test_poisoned_rows import POISON, TURN_DOWN_POISON
from tests.faults.writing_program import AMOUNT, HOLDERS, command_of
from tests.service.load import eventually
from tests.service.serving import KEY, Service
from tests.service.test_api_keys import as_key, key_for
from tests.service.test_graphql_consumptions_async import CONSUME, CONSUME_MANY, ISSUE, use

SECONDS_MAX = 30.0
WHAT_THE_OVERVIEW_IS_ASKED_BY = b"to_regclass('projection_skips')"
SIZES = ("batch_commands_count", "batch_commands_sum", "batch_events_count", "batch_events_sum", "append_seconds_count")
RULE = "/license/api/v1/credit-allocation-rule/00000000-0000-7000-8000-000000000000"


def numbers(text: str) -> dict[str, float]:
    """Every number of a page by its name and labels, less what all names begin with."""
    samples = [sample for family in plain_text(text) for sample in family.samples]
    assert {sample.name[:14] for sample in samples} == {"credit_ledger_"}
    found = {" ".join([sample.name[14:], *sample.labels.values()]): sample.value for sample in samples}
    assert len(found) == len(samples)
    return found


def scraped(service: Service) -> dict[str, float]:
    answer = service.stranger.get("/metrics")
    assert answer.status_code == 200
    return numbers(answer.text)


def counted(page: dict[str, float]) -> Counter[str]:
    """What only grows: the counters and how many and how large batches were."""
    return Counter({name: int(n) for name, n in page.items() if name.split()[0].endswith("_total") or name in SIZES})


BACKLOG = ("webhook_messages_", "webhook_holders_")


def page_of(metrics: Metrics) -> dict[str, float]:
    return numbers(metrics.text(Scrape(0, 0, Tally()))[0].decode())


def batch(commands: int, **events: int) -> dict[str, int]:
    """What one batch of the writer counts, by the last words of its events' types."""
    found = {"batch_commands_count": 1, "batch_commands_sum": commands}
    if events:
        found |= {"batch_events_count": 1, "batch_events_sum": sum(events.values()), "append_seconds_count": 1}
    return found | {f"events_appended_total ledger.{name}": count for name, count in events.items()}


def refused(code: str) -> dict[str, int]:
    return {f"refusals_total {code}": 1}


def test_each_request_counts_as_what_came_of_it(service: Service, schema: Database, customer: str) -> None:
    """Through every door, and only then: what is refused at a door never reaches the writer."""
    reader = as_key(key_for(schema, "reader"))
    grant = {"customerId": customer, "currencyId": "credits", "displayName": "g", "grantType": "PAID", "amount": 10}
    first, other = use(customer, "k1"), use(customer, "k1", amount=2)
    uses = [first, use(customer, "k2"), use(customer, "k2"), use("nobody", "k3"), use(customer, "k4")]

    def graphql(query: str, headers: dict[str, str] | None = None, **given: Any) -> Callable[[], httpx.Response]:
        return lambda: service.graphql(query, headers, **given)

    def http(method: str, path: str, **given: Any) -> Callable[[], httpx.Response]:
        return lambda: service.http.request(method, path, **given)

    unknown_key, hit = {"X-API-KEY": "x"}, {"idempotent_hits_total": 1}
    steps: list[tuple[Callable[[], httpx.Response], dict[str, int]]] = [
        (graphql(ISSUE, input=grant), batch(1, granted=1)),
        (graphql(CONSUME, input=first), batch(1, debited=1)),
        (graphql(CONSUME, input=first), batch(1) | hit),
        (graphql(CONSUME, input=other), batch(1) | refused("IdempotencyKeyReused")),
        (graphql(CONSUME, input=use("nobody", "k")), batch(1) | refused("InsufficientCredits")),
        (
            graphql(CONSUME_MANY, input={"consumptions": uses}),
            batch(5, debited=2) | {"idempotent_hits_total": 2} | refused("InsufficientCredits"),
        ),
        (graphql(CONSUME, reader, input=first), refused("IdentityForbidden")),
        (graphql(CONSUME, unknown_key, input=first), refused("Unauthenticated")),
        (graphql("{ nonsense }"), refused("InvalidArgumentError")),
        (http("POST", "/graphql", content=b"x" * (frame.BODY_BYTES_MAX + 1)), refused("BodyTooLarge")),
        (http("GET", RULE), refused("AllocationRuleNotFound")),
        (http("GET", RULE, headers=unknown_key), refused("Unauthenticated")),
        (http("DELETE", RULE, headers=reader), refused("IdentityForbidden")),
        (http("POST", "/test/clock", json={"now": "2001-01-01T00:00:00Z"}), refused("ClockWouldGoBack")),
        (http("GET", f"/{customer}"), refused("other")),
        (http("GET", "/livez"), {}),
    ]
    for send, wanted in steps:
        before = counted(scraped(service))
        answer = send()
        grown = counted(scraped(service)) - before
        assert grown == wanted, answer.text


def test_the_head_is_the_position_that_was_written_last(service: Service, customer: str) -> None:
    grant = {"customerId": customer, "currencyId": "credits", "displayName": "g", "grantType": "PAID", "amount": 10}
    answer = service.graphql(ISSUE, input=grant)
    page = scraped(service)
    assert page["head_position"] == int(answer.headers["X-Ledger-Position"])
    assert (page["database_up"], page["queued_commands"]) == (1, 0)


@pytest.mark.parametrize(
    ("accept", "content_type", "families"),
    [
        (None,                                           "text/plain; version=0.0.4; charset=utf-8", plain_text),
        ("application/openmetrics-text; version=1.0.0",  "application/openmetrics-text; version=1.0.0", open_metrics),
        ("text/html, application/openmetrics-text;v=x",  "application/openmetrics-text; version=1.0.0", open_metrics),
        ("text/plain; version=no-version; escaping=no",  "text/plain; version=0.0.4; charset=utf-8", plain_text),
    ],
    ids=["plain", "OpenMetrics", "OpenMetrics among others", "nonsense"],
)  # fmt: skip
def test_a_page_is_what_prometheus_reads_in_the_format_it_asks_for(
    service: Service, accept: str | None, content_type: str, families: Callable[[str], Iterator[Any]]
) -> None:
    answer = service.stranger.get("/metrics", headers={} if accept is None else {"Accept": accept})
    assert (answer.status_code, answer.headers["Content-Type"][: len(content_type)]) == (200, content_type)
    found = {family.name.removesuffix("_total"): family for family in families(answer.text)}
    assert len(found) > 10
    assert all(name.startswith("credit_ledger_") and family.documentation for name, family in found.items())
    assert found["credit_ledger_events_appended"].type == "counter"
    assert found["credit_ledger_append_seconds"].type == "histogram"


def test_every_event_type_and_every_code_is_there_from_the_start_and_nothing_that_a_caller_made_up() -> None:
    metrics = Metrics()
    codes = {kind.code for kind in ANSWERS} | {FAULT_CODE, "other"}  # type: ignore[attr-defined]
    known = {f"refusals_total {code}" for code in codes}
    types = {f"events_appended_total {kind.TOPIC}" for kind in EVENT_TYPES}
    outcomes = {f"webhook_attempts_total {outcome}" for outcome in ("delivered", "failed")}
    first = page_of(metrics)
    assert {name for name in first if " " in name and "bucket" not in name} == known | types | outcomes
    metrics.refused(f"made-up-{number}" for number in range(1000))
    assert counted(page_of(metrics)) == Counter({"refusals_total other": 1000})
    assert page_of(metrics).keys() == first.keys()


class Story:
    """A ledger whose writer is watched, behind a proxy; and a second one, of another process."""

    def __init__(self, proxy: CuttingProxy, database: Database, ledger: CreditLedger, other: CreditLedger) -> None:
        self.proxy = proxy
        self.database = database
        self._ledger = ledger
        self.other = other

    def send(self, keys: Sequence[str]) -> None:
        """One list, each command under its key; one whose key is empty has none."""
        self._ledger.execute_many_blocking([keyed(key) for key in keys])


def keyed(key: str) -> ConsumeCredits:
    if key == "poison":
        return copy(POISON)
    command = command_of(key or "k-0-0")
    command.idempotency_key = key or None
    return command


def keys(count: int, first: int = 0) -> list[str]:
    return [f"k-0-{number}" for number in range(first, first + count)]


def cut(moment: Moment, sent: Sequence[str]) -> Callable[[Story], None]:
    def tell(story: Story) -> None:
        story.send([""])  # loads the pool: the next COMMIT is that of the batch
        story.proxy.cut_next(moment)
        story.send(sent)
        story.proxy.wait_until_cut()

    return tell


def poisoned(story: Story) -> None:
    BlockingLedger(story.other).issue_grant(
        holder="poison", currency="credits", amount=AMOUNT, display_name="enough", grant_type="PAID"
    )
    with story.database.connect(None) as connection:
        connection.execute(TURN_DOWN_POISON)
    story.send([*keys(60), "poison", *keys(39, 60)])


def taken_keys(story: Story) -> None:
    """The batch is run again with all keys looked up first: half of them were taken by another process."""
    story.other.execute_many_blocking([keyed(key) for key in keys(20)])
    story.send(keys(40))


@pytest.mark.parametrize(
    ("happens", "commands", "hits"),
    [
        (lambda story: story.send(keys(1)),                                 1,  0),
        (lambda story: story.send(keys(350)),                             350,  0),
        (lambda story: story.send([*keys(3), *keys(3), "", ""]),            8,  3),
        (lambda story: [story.send(keys(40)), story.send(keys(60))],      100, 40),
        (taken_keys,                                                       40, 20),
        (poisoned,                                                         99,  0),
        (cut(Moment.BEFORE, keys(1)),                                       2,  0),
        (cut(Moment.AFTER, keys(1)),                                        2,  0),
        (cut(Moment.BEFORE, ["", *keys(19)]),                              21,  0),
        (cut(Moment.AFTER, ["", *keys(19)]),                               21,  0),
        (cut(Moment.AFTER, [*keys(150), *keys(20)]),                      171, 20),
    ],
    ids=[
        "one", "a list over several batches", "keys twice in a batch", "keys answered before",
        "keys of another process", "a row that is turned down",
        "one, cut before its commit", "one, cut after its commit",
        "a pipeline, cut before", "a pipeline, cut after", "a COPY with replays, cut after",
    ],
)  # fmt: skip
def test_whatever_becomes_of_a_batch_each_event_in_the_log_was_counted_once(
    database: Database, happens: Callable[[Story], None], commands: int, hits: int
) -> None:
    """By type, as the log has them; and each command in the one batch that became of it."""
    issue_grants(database)
    metrics, theirs = Metrics(), Metrics()
    limits = WriterLimits(batch_commands_max=200)
    with CuttingProxy(database.dsn) as proxy:
        behind = Database(proxy.dsn, database.schema)
        with (
            CreditLedger(database, watcher=theirs.batch_done) as other,
            CreditLedger(behind, limits=limits, watcher=metrics.batch_done) as ledger,
        ):
            happens(Story(proxy, database, ledger, other))
    ours, others = page_of(metrics), page_of(theirs)
    with database.connect(None) as connection:
        log = connection.execute("SELECT type, count(*) AS n FROM events GROUP BY type").fetchall()
    assert {
        row["type"]: ours[f"events_appended_total {row['type']}"] + others[f"events_appended_total {row['type']}"]
        for row in log
    } == {row["type"]: row["n"] - (HOLDERS if row["type"] == "ledger.granted" else 0) for row in log}
    assert ours["batch_events_sum"] == ours["events_appended_total ledger.debited"]
    assert (ours["batch_commands_sum"], ours["idempotent_hits_total"]) == (commands, hits)


@contextmanager
def served(
    database: Database,
    *,
    watcher: Callable[[BatchDone], None] | None = None,
    reading: Database | None = None,
    seen: Callable[[], Overview] | None = None,
) -> Iterator[tuple[frame.Frame, CreditLedger]]:
    """The service in this process, its read models read through `reading`."""
    metrics, threads = Metrics(), Threads(CONNECTIONS_MAX)
    with CreditLedger(database, watcher=watcher or metrics.batch_done) as ledger, Reader(reading or database) as reader:
        running = RunningLedger(database, ledger, BlockingLedger(ledger), None, reader)
        with database.connect(Role.PROJECTOR) as connection:
            prepare(connection, database)
        parts = parts_of(running, read_settings({}), threads, KEY, metrics)
        yield build_app(parts if seen is None else replace(parts, overview=seen)), ledger
        threads.close()


@asynccontextmanager
async def client(app: frame.Frame) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://ledger") as http:
        yield http


async def page(http: httpx.AsyncClient) -> dict[str, float]:
    answer = await http.get("/metrics")
    assert answer.status_code == 200
    return numbers(answer.text)


BUILDS = (
    ProjectionStatus("lots", "1a", State.LIVE, 40, 40, 0, 0.0, None, None, None, None, serving=True),
    ProjectionStatus("lots", "2b", State.REBUILDING, 10, 40, 30, 7.5, 5.0, 6.0, None, None, serving=False),
    ProjectionStatus("usage", "3c", State.FAILED, 30, 40, 10, 2.5, None, None, "cannot fold", 31, serving=True),
    ProjectionStatus("usage", "4d", State.CATCHING_UP, 0, 0, 0, 0.0, None, None, None, None, serving=False),
)


def test_every_build_of_a_projection_tells_how_far_it_is_and_how_it_does(database: Database) -> None:
    async def story() -> dict[str, float]:
        async with client(app) as http:
            return await page(http)

    with served(database, seen=lambda: Overview(40, True, BUILDS, [])) as (app, _):
        found = asyncio.run(story())
    names = ("position", "lag_events", "lag_seconds", "failed", "rebuild_progress_ratio")
    told = {
        ("lots",  "1a", "live"):        (40,  0, 0,   0, 1),
        ("lots",  "2b", "rebuilding"):  (10, 30, 7.5, 0, 0.25),
        ("usage", "3c", "failed"):      (30, 10, 2.5, 1, 0.75),
        ("usage", "4d", "catching up"): ( 0,  0, 0,   0, 1),
    }  # fmt: skip
    wanted: dict[str, float] = {}
    for (name, version, state), values in told.items():
        wanted |= {f"projection_{of} {name} {version}": value for of, value in zip(names, values, strict=True)}
        wanted |= {f"projection_state {name} {each} {version}": each == state for each in State}
    assert {name: value for name, value in found.items() if name.startswith("projection_")} == wanted


def test_commands_that_wait_for_the_writer_are_the_queue(database: Database) -> None:
    """Those that it is carrying out wait no more."""
    issue_grants(database)
    working, go_on = threading.Event(), threading.Event()

    def busy(_: BatchDone) -> None:
        working.set()
        assert go_on.wait(SECONDS_MAX)

    async def story() -> None:
        async with client(app) as http:
            first = asyncio.create_task(ledger.execute_many([keyed("")] * 2))
            assert await asyncio.to_thread(working.wait, SECONDS_MAX)
            waiting = [asyncio.create_task(ledger.execute_many([keyed("")] * count)) for count in (1, 6)]
            await asyncio.sleep(0)
            assert (await page(http))["queued_commands"] == 7
            go_on.set()
            await asyncio.gather(first, *waiting)
            assert (await page(http))["queued_commands"] == 0

    with served(database, watcher=busy) as (app, ledger):
        asyncio.run(story())


def test_without_the_database_all_the_rest_is_still_told(database: Database) -> None:
    issue_grants(database)

    async def story() -> None:
        async with client(app) as http:
            await ledger.execute(keyed(""))
            before = await page(http)
            proxy.cut_next(Moment.BEFORE, WHAT_THE_OVERVIEW_IS_ASKED_BY, refuse_afterwards=True)
            away = await page(http)
            proxy.wait_until_cut()
            only_the_database_tells = ("database_up", "head_position", "log_followed", "projection_", *BACKLOG)
            assert before["database_up"] == 1
            rest = {name: told for name, told in before.items() if not name.startswith(only_the_database_tells)}
            assert away == rest | {"database_up": 0}
            assert before["events_appended_total ledger.debited"] == 1
            proxy.accept()

    with (
        CuttingProxy(database.dsn) as proxy,
        served(database, reading=Database(proxy.dsn, database.schema)) as (app, ledger),
    ):
        asyncio.run(story())
        assert eventually(lambda: asyncio.run(up_again(app)), SECONDS_MAX)


async def up_again(app: frame.Frame) -> bool:
    async with client(app) as http:
        return (await page(http))["database_up"] == 1


def test_a_scrape_waits_in_a_thread_and_nobody_waits_for_it(database: Database) -> None:
    asked, go_on = threading.Event(), threading.Event()

    def slow() -> Overview:
        asked.set()
        assert go_on.wait(SECONDS_MAX)
        return Overview(40, True, BUILDS, [])

    async def story() -> None:
        async with client(app) as http:
            scrape = asyncio.create_task(page(http))
            assert await asyncio.to_thread(asked.wait, SECONDS_MAX)
            assert (await http.get("/livez")).status_code == 200
            go_on.set()
            assert "projection_position lots 1a" in await scrape

    with served(database, seen=slow) as (app, _):
        asyncio.run(story())


def test_when_there_are_too_many_requests_the_scrape_is_let_in_and_tells_it(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frame, "REQUESTS_AT_ONCE_MAX", 0)

    async def story() -> None:
        async with client(app) as http:
            assert (await http.post("/graphql")).status_code == 429
            assert counted(await page(http)) == Counter({"refusals_total QueueFull": 1})

    with served(database) as (app, _):
        asyncio.run(story())
