"""The auditor's door: every question by HTTP, and the replay, with the figures that the command line has."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from threading import Event
from typing import NamedTuple, TypeAlias

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ledger.application import LedgerUnavailable
from ledger.domain.refusals import InvalidArgument, Refusal
from ledger.store.epochs import identity
from projections.audit.replay import replay
from projections.reports.as_of import RecordedAsOf
from projections.reports.report import Report
from service.access import IdentityForbidden, Right
from service.audit.exports import zipped
from service.audit.manifest import Form
from service.audit.parameters import read_recorded
from service.audit.question import Answer, Question
from service.audit.questions import QUESTIONS
from service.audit.refusals import TooManyReports
from service.callers import authenticated
from service.frame import POSITION, route
from service.parts import Parts
from service.refusals import in_words
from service.settling import settle

log = logging.getLogger(__name__)

REPORTS_MAX, REPLAYS_MAX = 2, 1
"""How many one process makes at once: a report holds one of its connections until it is whole."""
WAITING_SECONDS_MAX = 5.0
LOOK_SECONDS = 1.0
"""How often it is seen whether somebody still waits."""
ROWS_MAX = 50_000
"""Of one answer: its rows are all in memory at once."""
REPLAY = "/v1/audit/replay"
FORMAT, JSON = "format", "json"
FORMATS = (JSON, *(form.value for form in Form))
ZIP = "application/zip"
NOT_STORED = {"Cache-Control": "no-store"}
Gone: TypeAlias = Callable[[], Awaitable[bool]]
"""Whether whoever asked has left."""


class Wanted(NamedTuple):
    """A question's parameters by their names, what its answer is to be (None: JSON), and whose figures may be seen."""

    texts: Mapping[str, str]
    form: Form | None
    seen: frozenset[str] | None


class Desk:
    """Where reports are made, a few at a time."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._reports, self._replays = asyncio.Semaphore(REPORTS_MAX), asyncio.Semaphore(REPLAYS_MAX)

    async def make(self, question: Question[Answer], wanted: Wanted, gone: Gone) -> Response:
        """The answer as JSON, or as a file with its manifest. Refuses: TooManyReports, and as the question does."""
        async with _seat(self._reports, REPORTS_MAX), _watched(gone) as left:
            if question.settles(wanted.texts):
                await settle(self._parts)
            return await self._parts.threads.read(partial(self._answer, question, wanted, left))

    async def replay(self, to: RecordedAsOf, gone: Gone) -> Response:
        """The log folded again, in processes of its own. Refuses: TooManyReports, InvalidArgument."""
        async with _seat(self._replays, REPLAYS_MAX), _watched(gone) as left:
            return await self._parts.threads.run(partial(self._replay, to, left))

    def _answer(self, question: Question[Answer], wanted: Wanted, left: Event) -> Response:
        reader, form = self._parts.reader, wanted.form
        answer = question.ask(reader, wanted.texts, wanted.seen, partial(self._go_on, left), ROWS_MAX)
        headers = {POSITION: str(answer.as_of.position)} | NOT_STORED
        if form is None:
            return Response(json.dumps(answer.data()), headers=headers, media_type="application/json")
        assert isinstance(answer, Report)
        with reader.connection() as connection:
            ledger = identity(connection)
        headers["Content-Disposition"] = f'attachment; filename="{answer.name}.zip"'
        return Response(zipped(answer, form, ledger=ledger), headers=headers, media_type=ZIP)

    def _replay(self, to: RecordedAsOf, left: Event) -> Response:
        report = replay(self._parts.ledger.database, to=to, told=partial(self._go_on, left))
        headers = {POSITION: str(report.position)} | NOT_STORED
        return Response(json.dumps(report.data()), headers=headers, media_type="application/json")

    def _go_on(self, left: Event, done: int, total: int) -> None:
        """A service that ends waits for no report, and none is made for somebody who has left."""
        if self._parts.feed.ending or left.is_set():
            raise LedgerUnavailable("the service is ending" if self._parts.feed.ending else "nobody waits for it")


@asynccontextmanager
async def _seat(seats: asyncio.Semaphore, number: int) -> AsyncIterator[None]:
    """Refuses: TooManyReports."""
    try:
        async with asyncio.timeout(WAITING_SECONDS_MAX):
            await seats.acquire()
    except TimeoutError:
        raise TooManyReports(number) from None
    try:
        yield
    finally:
        seats.release()


@asynccontextmanager
async def _watched(gone: Gone) -> AsyncIterator[Event]:
    """What is set once nobody waits for the answer any more."""
    left = Event()

    async def watch() -> None:
        while not await gone():
            await asyncio.sleep(LOOK_SECONDS)
        left.set()
        log.info("nobody waits for this report any more: it is given up")

    watching = asyncio.create_task(watch())
    try:
        yield left
    finally:
        watching.cancel()


def audit_routes(parts: Parts) -> list[Route]:
    desk = Desk(parts)

    async def post_replay(request: Request) -> Response:
        caller = await authenticated(request, parts)
        caller.require(Right.AUDIT)
        if caller.holders is not None:
            raise IdentityForbidden("to be bound to no customer or company: the log is everybody's")
        texts = _texts(request, {"to": "to"})
        return await desk.replay(read_recorded(texts["to"], "to") if texts else None, request.is_disconnected)

    questions = [route("GET", question.path, _endpoint(parts, desk, question)) for question in QUESTIONS]
    return [*questions, route("POST", REPLAY, post_replay)]


def _endpoint(parts: Parts, desk: Desk, question: Question[Answer]) -> Callable[[Request], Awaitable[Response]]:
    wires = {each.name: each.wire for each in question.parameters}
    names = {wire: name for name, wire in wires.items()} | ({FORMAT: FORMAT} if question.tabular else {})

    async def answer(request: Request) -> Response:
        caller = await authenticated(request, parts)
        caller.require(Right.AUDIT)
        texts = _texts(request, names)
        form = _form(texts.pop(FORMAT, JSON))
        try:
            return await desk.make(question, Wanted(texts, form, caller.holders), request.is_disconnected)
        except Refusal as refusal:
            raise in_words(refusal, wires) from None

    return answer


def _form(text: str) -> Form | None:
    """What a table is asked for as; None: JSON. Refuses: InvalidArgument."""
    if text not in FORMATS:
        raise InvalidArgument(FORMAT, f"must be one of {', '.join(FORMATS)}")
    return None if text == JSON else Form(text)


def _texts(request: Request, names: Mapping[str, str]) -> dict[str, str]:
    """The request's parameters by their names. Refuses: InvalidArgument."""
    texts: dict[str, str] = {}
    for wire, text in request.query_params.multi_items():
        if wire not in names:
            raise InvalidArgument(wire, f"is not a parameter; there are {', '.join(sorted(names))}")
        if names[wire] in texts:
            raise InvalidArgument(wire, "must be given once")
        texts[names[wire]] = text
    return texts
