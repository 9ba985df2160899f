"""What a process counts of its own work, and the page on which Prometheus reads it.

Labels have a bounded number of values: nothing that a caller writes becomes one.
"""

from collections import Counter as Multiset
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from ledger.application.watching import BatchDone
from ledger.domain.events import EVENT_TYPES
from projections.status import Overview, ProjectionStatus, State
from service.refusals import ANSWERS, FAULT_CODE
from service.webhooks.courier import Tally
from service.webhooks.endpoints import Backlog

PREFIX = "credit_ledger"
OPEN_METRICS = "application/openmetrics-text"
OTHER = "other"
"""The label of a code that is not in the table: of a path that there is not, say."""
CODES = frozenset({FAULT_CODE, OTHER, *(error.code for error in ANSWERS)})  # type: ignore[attr-defined]  # each has one
SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)


def _failed(build: ProjectionStatus) -> bool:
    return build.state is State.FAILED or build.error is not None


OfBuild = Callable[[ProjectionStatus], float]
OF_BUILDS: dict[str, tuple[str, OfBuild]] = {
    "position": ("Position up to which a build of a projection has folded the log", lambda build: build.position),
    "lag_events": ("Events that a build of a projection is behind the head", lambda build: build.lag_events),
    "lag_seconds": ("Seconds that a build of a projection is behind the head", lambda build: build.lag_seconds),
    "failed": ("1 if an error has stopped a build of a projection, else 0", _failed),
    "rebuild_progress_ratio": (
        "Part of the log that a build of a projection has folded, from 0 to 1",
        lambda build: min(build.position / build.head, 1) if build.head else 1,
    ),
}
"""What is told of every build, one gauge each."""


class Scrape(NamedTuple):
    """How things stand at a scrape. What only the database can tell is None where it could not be asked."""

    queued: int
    subscribers: int
    attempts: Tally
    seen: Overview | None = None
    backlog: Backlog | None = None


class Metrics:
    """The counters of one process. The writer's thread calls `batch_done`; any thread may read."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        events = self._counter("events_appended", "Events that this process appended and committed, by type", "type")
        self._events = {kind: events.labels(kind.TOPIC) for kind in sorted(EVENT_TYPES, key=lambda kind: kind.TOPIC)}
        self._hits = self._counter("idempotent_hits", "Commands that were answered from their idempotency key")
        refusals = self._counter("refusals", "Requests with a refusal, by code; a code counts once a request", "code")
        self._refusals = {code: refusals.labels(code) for code in sorted(CODES)}
        self._seconds = self._histogram("append_seconds", "Seconds to append and commit the events of a batch", SECONDS)
        self._commands_of_batch = self._histogram("batch_commands", "Commands that were one transaction", SIZES)
        self._events_of_batch = self._histogram("batch_events", "Events that were committed together", SIZES)

    def batch_done(self, batch: BatchDone) -> None:
        """Count a batch of the writer: a few additions, however many commands it has."""
        for kind, count in Multiset(map(type, batch.events)).items():
            self._events[kind].inc(count)
        self._hits.inc(batch.hits)
        self._commands_of_batch.observe(batch.commands)
        if batch.events:
            self._events_of_batch.observe(len(batch.events))
            self._seconds.observe(batch.seconds)

    def refused(self, codes: Iterable[str]) -> None:
        """Count the refusals of one request."""
        for code in codes:
            self._refusals[code if code in CODES else OTHER].inc()

    def text(self, scrape: Scrape, accept: str = "") -> tuple[bytes, str]:
        """All of it, and its content type."""
        encode, content_type = choose_encoder(OPEN_METRICS if OPEN_METRICS in accept else "")
        return encode(_Page(self._registry, scrape)), content_type

    def _counter(self, name: str, about: str, *labels: str) -> Counter:
        return Counter(f"{PREFIX}_{name}", about, labels, registry=self._registry)

    def _histogram(self, name: str, about: str, buckets: Sequence[float]) -> Histogram:
        return Histogram(f"{PREFIX}_{name}", about, registry=self._registry, buckets=buckets)


class _Page:
    """What one scrape is told: the counters, and how things stand at this moment."""

    def __init__(self, registry: CollectorRegistry, scrape: Scrape) -> None:
        self._registry = registry
        self._scrape = scrape

    def collect(self) -> Iterator[Metric]:
        for counted in self._registry.collect():
            counted.samples = [sample for sample in counted.samples if not sample.name.endswith("_created")]
            yield counted
        queued, subscribers, attempts, seen, backlog = self._scrape
        yield _gauge("queued_commands", "Commands that wait for the writer of this process", queued)
        about = "Streams of events, and requests that wait for one, that this process has now"
        yield _gauge("subscribers", about, subscribers)
        about = "Attempts of this process to deliver a webhook, by what came of them"
        made = CounterMetricFamily(f"{PREFIX}_webhook_attempts", about, labels=["outcome"])
        made.add_metric(["delivered"], attempts.delivered)
        made.add_metric(["failed"], attempts.failed)
        yield made
        yield _gauge("database_up", "1 if the database could be asked at this scrape, else 0", seen is not None)
        if seen is not None:
            yield _gauge("head_position", "Position of the last event of the log", seen.head)
            yield _gauge("log_followed", "1 if some process follows the log, else 0", seen.followed)
            yield from _of_builds(seen.projections)
        if backlog is not None:
            yield _gauge("webhook_messages_waiting", "Messages that are to be delivered to endpoints", backlog.waiting)
            yield _gauge("webhook_messages_parked", "Messages that were given up after days", backlog.parked)
            about = "Holders of endpoints whose messages are not taken at present"
            yield _gauge("webhook_holders_failing", about, backlog.failing)


def _gauge(name: str, about: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"{PREFIX}_{name}", about, value)


def _of_builds(builds: Sequence[ProjectionStatus]) -> Iterator[GaugeMetricFamily]:
    labels = ["projection", "version"]
    for name, (about, value) in OF_BUILDS.items():
        gauge = GaugeMetricFamily(f"{PREFIX}_projection_{name}", about, labels=labels)
        for build in builds:
            gauge.add_metric([build.name, build.version], value(build))
        yield gauge
    about = "1 for the state that a build of a projection is in, 0 for the others"
    states = GaugeMetricFamily(f"{PREFIX}_projection_state", about, labels=[*labels, "state"])
    for build in builds:
        for state in State:
            states.add_metric([build.name, build.version, state.value], state is build.state)
    yield states
