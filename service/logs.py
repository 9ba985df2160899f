"""Structured logs: one JSON object a line on stderr, each with the id of the request that it belongs to."""

import asyncio
import json
import logging
import sys
import time
from collections.abc import Mapping
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, TextIO

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

REQUESTS = "service.requests"
AT = "%Y-%m-%dT%H:%M:%S%z"
REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)


def set_up_logs(level: int = logging.INFO) -> None:
    """Send the log of this process to stderr, replacing what was set up before."""
    handler = Lines(sys.stderr)
    handler.addFilter(_with_request_id)
    handler.setFormatter(
        Formatter(
            "%(asctime)s %(levelname)s %(name)s %(message)s",
            rename_fields={"asctime": "at", "levelname": "level", "name": "logger"},
            datefmt=AT,
            reserved_attrs=[*RESERVED_ATTRS, "color_message"],  # the web server's, for terminals
        )
    )
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in ("uvicorn.access", "psycopg.pool"):
        logging.getLogger(name).setLevel(logging.WARNING)


def log_request(facts: Mapping[str, Any]) -> None:
    """One line about a request that has been answered."""
    logger = logging.getLogger(REQUESTS)
    if logger.isEnabledFor(logging.INFO):
        record = logging.LogRecord(REQUESTS, logging.INFO, "", 0, "request", None, None)
        record.facts = facts
        logger.handle(record)


class Formatter(JsonFormatter):
    """As its parent; what every request has is told without looking for what a record might have."""

    def format(self, record: logging.LogRecord) -> str:
        if record.name != REQUESTS:
            return super().format(record)
        told = {
            "at": _second(int(record.created)),
            "level": record.levelname,
            "logger": record.name,
            "message": record.msg,
            **record.facts,  # type: ignore[attr-defined]  # log_request gave it some
            "request_id": record.request_id,  # type: ignore[attr-defined]  # and the filter this
        }
        return json.dumps(told)


class Lines(logging.StreamHandler[TextIO]):
    """Writes lines in their order; those of one turn of an event loop together, when the turn is over.

    A write lets another thread run, which a busy event loop would otherwise wait for after every request.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._lines.append(self.format(record) + self.terminator)
            if record.name == REQUESTS and len(self._lines) == 1:
                asyncio.get_running_loop().call_soon(self.flush)
            elif record.name != REQUESTS:
                self.flush()
        except Exception:
            self.handleError(record)

    def flush(self) -> None:
        with self.lock:  # type: ignore[union-attr]  # every handler has one
            if self._lines:
                lines, self._lines = self._lines, []
                self.stream.write("".join(lines))
            super().flush()


@lru_cache(maxsize=4)
def _second(at: int) -> str:
    return time.strftime(AT, time.localtime(at))


def _with_request_id(record: logging.LogRecord) -> bool:
    request_id = REQUEST_ID.get()
    if request_id is not None:
        record.request_id = request_id
    return True
