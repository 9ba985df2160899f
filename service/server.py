"""Processes of the service: `serve` answers requests, `worker` follows the log; by default one process does both.

A process opens everything from its main thread and closes it in the reverse order: first no new request is taken and
every accepted one is answered, then the reactors end, then the writer's queue is drained, last the embedded server.
"""

import asyncio
import json
import logging
import os
import secrets
import shlex
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

import uvicorn

from ledger.application.limits import WriterLimits
from ledger.application.watching import BatchWatcher
from projections.reading import CONNECTIONS_MAX
from projections.status import Overview, overview
from service.api_keys import KeyRing
from service.app import build_app
from service.bootstrap import RunningLedger, open_ledger
from service.connection import Connection
from service.feed.feed import Feed
from service.logs import set_up_logs
from service.metrics import Metrics
from service.parts import Parts
from service.rate_limit import RateLimit, TokenBuckets
from service.reactors import Reactors
from service.reads import Threads
from service.rest.tokens import Tokens
from service.settings import Settings, SettingsError
from service.signing import Signing
from service.webhooks.deliverer import Deliverer
from service.webhooks.endpoints import Backlog, backlog
from service.webhooks.schedule import Schedule

log = logging.getLogger(__name__)

DRAIN_SECONDS_MAX = 30
OUTAGE_SECONDS_MAX = 10.0
"""How long a request waits for a database that is away; then it is told to try again."""
HOST_FOR_PEOPLE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # what to call, not what to listen on
EXAMPLE = (
    '{"query": "mutation { createCreditGrant(input: {customerId: \\"acme\\", currencyId: \\"credits\\", amount: 100, '
    'displayName: \\"Welcome\\", grantType: PROMOTIONAL}) { grantId status amount } }"}'
)


@contextmanager
def open_by_settings(
    settings: Settings, *, migrating: bool = True, following: bool = True, watcher: BatchWatcher | None = None
) -> Iterator[RunningLedger]:
    """The ledger that the settings name, on their clock."""
    embedded = settings.database_url is None
    with open_ledger(
        settings.database_url,
        data_folder=settings.data_dir if embedded else None,
        schema=settings.schema_name,
        clock=settings.clock(),
        migrating=migrating or embedded,
        limits=WriterLimits(outage_seconds_max=OUTAGE_SECONDS_MAX),
        following=following,
        visitors=True,
        watcher=watcher,
    ) as running:
        yield running


def serve(
    settings: Settings,
    *,
    working: bool = True,
    migrating: bool = True,
    showing_key: bool = False,
    as_json: bool = False,
) -> None:
    """Answer requests until SIGTERM or SIGINT; with `working`, follow the log and act on what falls due as well."""
    set_up_logs()
    _end_in_good_order()
    with ExitStack() as stack:
        place = stack.enter_context(_place_to_listen(settings))
        metrics = Metrics()
        running = stack.enter_context(
            open_by_settings(settings, migrating=migrating, following=working, watcher=metrics.batch_done)
        )
        threads = Threads(CONNECTIONS_MAX)
        stack.callback(threads.close)
        admin_key, where = _admin_key(settings)
        parts = parts_of(running, settings, threads, admin_key, metrics)
        config = uvicorn.Config(
            build_app(parts),
            log_config=None,
            access_log=False,
            server_header=False,
            http=Connection,
            timeout_graceful_shutdown=DRAIN_SECONDS_MAX,
        )
        Announced(config, parts.feed, admin_key if showing_key else None, where, as_json=as_json).run([place])


def parts_of(
    running: RunningLedger,
    settings: Settings,
    threads: Threads,
    admin_key: str | None,
    metrics: Metrics | None = None,
) -> Parts:
    """What the doors on a ledger share. `metrics` are those that watch its writer."""
    keys, signing = KeyRing(running.reader, admin_key), Signing(running.ledger)
    return Parts(
        ledger=running.ledger,
        reader=running.reader,
        threads=threads,
        keys=keys,
        reactors=Reactors(running.ledger, running.reader, _deliverer(running, settings)),
        signing=signing,
        tokens=Tokens(keys, signing),
        execution_rate=RateLimit(settings.execution_requests_per_minute),
        rule_rate=TokenBuckets(settings.rule_requests_per_second, settings.rule_requests_burst),
        feed=Feed(running.database, running.reader, threads),
        metrics=metrics or Metrics(),
        overview=lambda: _overview(running),
        backlog=lambda: _backlog(running),
        runner=running.runner,
        test_clock=settings.test_clock,
    )


def _overview(running: RunningLedger) -> Overview:
    with running.reader.connection() as connection:
        return overview(connection, running.ledger.clock)


def _backlog(running: RunningLedger) -> Backlog:
    with running.reader.connection() as connection:
        return backlog(connection)


def work(settings: Settings, *, migrating: bool = True) -> None:
    """Follow the log and act on what falls due, until SIGTERM or SIGINT."""
    set_up_logs()
    _end_in_good_order()
    with open_by_settings(settings, migrating=migrating) as running:
        asyncio.run(_work(running, settings))


async def _work(running: RunningLedger, settings: Settings) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    reactors = Reactors(running.ledger, running.reader, _deliverer(running, settings))
    reactors.start()
    log.info("working")
    await stopping.wait()
    await reactors.stop()


def _deliverer(running: RunningLedger, settings: Settings) -> Deliverer:
    return Deliverer(
        running.database,
        private_targets=settings.webhook_private_targets,
        schedule=Schedule(retry_seconds=settings.webhook_retry_seconds),
    )


class Announced(uvicorn.Server):
    """A server that tells a newcomer how to use it, once it listens, and subscribers when it ends."""

    def __init__(self, config: uvicorn.Config, feed: Feed, key: str | None, where: str, *, as_json: bool) -> None:
        super().__init__(config)
        self._feed = feed
        self._key = key
        self._where = where
        self._as_json = as_json

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            told = announcement(host, port, self._key, self._where)
            lines = [json.dumps(told)] if self._as_json else [f"{name + ':':9}{text}" for name, text in told.items()]
            print("\n".join(lines), flush=True)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._feed.end()
        await super().shutdown(sockets)


def announcement(host: str, port: int, key: str | None, where: str) -> dict[str, str]:
    """What `serve` tells: the address, the key or where it is, and one request to paste."""
    host = HOST_FOR_PEOPLE.get(host, host)
    address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    told = {"address": address, "key": key or where}
    if key is not None:
        header = shlex.quote(f"X-API-KEY: {key}")
        told["try"] = f"curl -s {address}/graphql -H {header} -d {shlex.quote(EXAMPLE)}"
    return told


def _place_to_listen(settings: Settings) -> socket.socket:
    """The address, taken before anything is opened; nobody is let in yet. Raises SettingsError."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    place = socket.socket(family)
    try:
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        place.bind((settings.host, settings.port))
    except OSError as error:
        place.close()
        where = f"LEDGER_HOST {settings.host}, LEDGER_PORT {settings.port}"
        raise SettingsError(f"cannot listen on {where}: {error}") from None
    return place


def _admin_key(settings: Settings) -> tuple[str | None, str]:
    """The admin key, and where it is from. The embedded ledger has one from its first start, kept beside its data."""
    if settings.admin_key is not None:
        return settings.admin_key, "as LEDGER_ADMIN_KEY says"
    if settings.database_url is not None:
        return None, "make one with credit-ledger keys create"
    file = settings.data_dir / "admin-key"
    if not file.exists():
        _write_once(file, secrets.token_urlsafe(32))
    return file.read_text().strip(), f"in {file}"


def _write_once(file: Path, text: str) -> None:
    scratch = file.with_suffix(".new")
    with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as new:
        new.write(text + "\n")
    scratch.replace(file)


def _end_in_good_order() -> None:
    """SIGTERM unwinds like any other end; while the server answers requests it has handlers of its own."""

    def end(_number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
