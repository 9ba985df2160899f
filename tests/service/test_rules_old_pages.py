"""A page token is good for a bounded stretch of the ledger: what came after the first page is read to tell the next."""

import asyncio
from typing import Any

import httpx
import pytest

from ledger.application import BlockingLedger, CreditLedger
from ledger.store.clock import Clock
from ledger.store.database import Database
from projections.reading import CONNECTIONS_MAX, Reader
from projections.runner import Runner
from service.app import build_app
from service.bootstrap import RunningLedger
from service.reads import Threads
from service.rest import rules
from service.server import parts_of
from service.settings import read_settings
from tests.service.serving import KEY

EVENTS_MAX = 3


def test_a_page_token_is_refused_as_too_old_after_so_many_events_and_not_before(
    database: Database, ledger: CreditLedger, books: BlockingLedger, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "PASSED_EVENTS_MAX", EVENTS_MAX)
    threads = Threads(CONNECTIONS_MAX)
    with Runner(database) as runner, Reader(database, clock=clock) as reader:
        app = build_app(
            parts_of(RunningLedger(database, ledger, books, runner, reader), read_settings({}), threads, KEY)
        )

        async def story() -> list[httpx.Response]:
            async with httpx.AsyncClient(
                transport=httpx.ASGITransport(app), base_url="http://ledger", headers={"X-API-KEY": KEY}
            ) as http:

                async def define(name: str) -> None:
                    await ledger.define_allocation_rule(
                        name=name, account_groups=["lab"], allocated=1, alarm_threshold=1
                    )

                async def page(**body: Any) -> httpx.Response:
                    return await http.post(rules.RULES, json={"limit": 1} | body)

                await define("a")
                await define("b")
                token = (await page()).json()["pageToken"]
                for name in ("c", "d", "e"):
                    await define(name)
                still = await page(pageToken=token)
                await define("f")
                return [still, await page(pageToken=token)]

        still, too_old = asyncio.run(story())
    threads.close()
    assert [rule["name"] for rule in still.json()["rules"]] == ["b"]
    assert still.json()["pageToken"] is None
    assert too_old.status_code == 400
    assert too_old.json()["message"] == "pageToken is too old: begin the list again"
