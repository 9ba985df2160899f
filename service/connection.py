"""One connection of a client: parsed by httptools, which takes headers without end, within bounds of our own."""

import asyncio

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from service.feed.stream import ABORT
from service.frame import BODY_BYTES_MAX

HEAD_BYTES_MAX = 64 * 1024
"""Of a request's line and headers; as many bytes may come without anything whole in them, within a body too."""
WAITING_BYTES_MAX = 2 * BODY_BYTES_MAX
"""Of a body that nobody has taken; reading pauses long before."""
NO_HTTP = "Invalid HTTP request received."
PIPELINED_MAX = 100
"""How many requests may have been sent before the answer to an earlier one."""


class TooMuch(httptools.HttpParserError):
    """A client sent more than it may; its connection is ended like any that is not HTTP."""


class Connection(HttpToolsProtocol):
    """What is beyond a bound is answered with 400, and the connection is closed.

    What answers a request finds in its state how to end the connection at once.
    """

    _bytes = 0
    """How many have come since there was anything whole."""
    _head_bytes = 0
    """Of the names and values that the request has so far, those after its body too."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as its parent has it
        super().connection_made(transport)
        self.app_state = {**self.app_state, ABORT: transport.abort}

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        self._bytes += len(data)
        try:
            while data:
                data = self._fed(data)
            if self._bytes > HEAD_BYTES_MAX:
                raise TooMuch(f"more than {HEAD_BYTES_MAX} bytes without anything whole")
        except httptools.HttpParserError:
            self.logger.warning(NO_HTTP)
            self.send_400_response(NO_HTTP)

    def _fed(self, data: bytes) -> bytes:
        """Feed the parser; what is returned is to be fed next.

        A client may offer another protocol with any request. The parser then takes the offer for accepted and does not
        look at the body, so it gets the same request again, without the offer.
        """
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            method, version = self.parser.get_method(), self.parser.get_http_version().encode()
            if method == b"CONNECT":
                raise httptools.HttpParserError("this is no proxy") from None
            kept = [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
            head = [b"%b %b HTTP/%b" % (method, self.url, version), *kept, b"", data[offer.args[0] :]]
            self.parser = httptools.HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as its parent has it
            return b"\r\n".join(head)
        return b""

    def on_message_begin(self) -> None:
        self._head_bytes = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._bytes = 0
        if self.parser.should_upgrade():
            return
        if len(self.pipeline) >= PIPELINED_MAX:
            raise TooMuch(f"more than {PIPELINED_MAX} requests wait")
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._bytes = 0
        super().on_body(body)
        if len(self.cycle.body) > WAITING_BYTES_MAX:
            raise TooMuch(f"more than {WAITING_BYTES_MAX} bytes of a body wait")

    def on_message_complete(self) -> None:
        self._bytes = 0
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and cycle.more_body and cycle.response_started:
            self.transport.close()  # the request has its answer already, whatever its body goes on to be
        else:
            super().send_400_response(msg)

    def _count(self, bytes: int) -> None:
        self._head_bytes += bytes
        if self._head_bytes > HEAD_BYTES_MAX:
            raise TooMuch(f"more than {HEAD_BYTES_MAX} bytes of headers")
