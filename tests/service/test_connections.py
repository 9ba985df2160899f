"""What a connection may hold before anybody has shown a key: bounds of our own around a parser that has none."""

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import repeat
from urllib.parse import urlsplit

import pytest

from service.connection import HEAD_BYTES_MAX, PIPELINED_MAX
from tests.service.serving import ANSWER_SECONDS_MAX, Service

HEAD = b"POST /graphql HTTP/1.1\r\nHost: x\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
LIVEZ = b"GET /livez HTTP/1.1\r\nHost: x\r\n"
SENT_MAX = 1000 * HEAD_BYTES_MAX
"""Far more than the two machines hold of what is on its way: whoever has sent it was not stopped."""


@contextmanager
def connected(service: Service) -> Iterator[socket.socket]:
    where = urlsplit(service.url)
    with socket.create_connection((where.hostname, where.port or 80), timeout=ANSWER_SECONDS_MAX) as connection:
        yield connection


def answer_to(connection: socket.socket) -> bytes:
    """All that comes until the service closes the connection."""
    got = b""
    with suppress(ConnectionError):
        while more := connection.recv(65_536):
            got += more
    return got


def one_answer(connection: socket.socket) -> bytes:
    """The next answer, whole; its length is told."""
    got = b""
    while True:
        head, end, body = got.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        if end and len(body) >= (0 if length is None else int(length[1])):
            return got
        more = connection.recv(65_536)
        assert more, got
        got += more


def sent_until_stopped(service: Service, begin: bytes, piece: bytes) -> int:
    """How many bytes a client sends, the same piece again and again, before the service closes the connection.

    Whoever shows no key is told so at once, and then goes on with his body.
    """
    sent = 0
    with connected(service) as connection:
        with suppress(ConnectionError):
            connection.sendall(begin)
            for _ in repeat(None, SENT_MAX // len(piece)):
                connection.sendall(piece)
                sent += len(piece)
        answer = answer_to(connection)
    assert answer[:13] in (b"", b"HTTP/1.1 400 ", b"HTTP/1.1 401 "), answer[:100]
    assert answer.count(b"HTTP/1.1 ") <= 1
    return sent


@pytest.mark.parametrize(
    ("begin", "piece"),
    [
        (b"GET /", b"x" * 1000),
        (b"GET /livez?", b"x" * 1000),
        (LIVEZ + b"X-Long: ", b"x" * 1000),
        (LIVEZ, b"x" * 1000),
        (LIVEZ, b"X-Many: x\r\n" * 100),
        (b"", b"\r\n" * 500),
        (CHUNKED + b"1;", b"x" * 1000),
        (CHUNKED + b"0\r\n", b"X-Trailer: x\r\n" * 100),
        (CHUNKED + b"0\r\nX-Trailer: ", b"x" * 1000),
    ],
    ids=["path", "query", "header", "name", "headers", "lines", "chunk", "trailers", "trailer"],
)
def test_what_is_nothing_whole_ends_somewhere(service: Service, begin: bytes, piece: bytes) -> None:
    """However slowly it comes: nothing of it fills the memory."""
    assert sent_until_stopped(service, begin, piece) < SENT_MAX // 2
    assert service.http.get("/livez").status_code == 200


def test_headers_within_the_bound_are_taken(service: Service) -> None:
    long = "x" * (HEAD_BYTES_MAX // 2)
    assert service.http.get("/livez", headers={"X-Long": long}).status_code == 200
    assert service.http.get("/livez", headers={f"X-Long-{number}": long for number in range(2)}).status_code == 400


def test_requests_that_are_sent_ahead_are_answered_in_order_and_bounded(service: Service) -> None:
    ahead = [LIVEZ + b"X-Request-Id: %d\r\n\r\n" % number for number in range(PIPELINED_MAX)]
    with connected(service) as connection:
        connection.sendall(b"".join(ahead) + LIVEZ + b"Connection: close\r\n\r\n")
        answers = answer_to(connection)
    places = [answers.index(b"x-request-id: %d\r\n" % number) for number in range(PIPELINED_MAX)]
    assert places == sorted(places)
    with connected(service) as connection:
        connection.sendall((LIVEZ + b"\r\n") * (PIPELINED_MAX + 50))
        assert b"HTTP/1.1 400 " in answer_to(connection)


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        LIVEZ + b"no colon\r\n\r\n",
        LIVEZ + b"Content-Length: x\r\n\r\n",
        HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        HEAD + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        CHUNKED + b"x\r\n\r\n",
        b"GET \xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /livez HTTP/9.9\r\nHost: x\r\n\r\n",
        b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
    ids=lambda sent: ascii(sent[:30]),
)
def test_what_is_no_http_is_told_so(service: Service, sent: bytes) -> None:
    with connected(service) as connection:
        connection.sendall(sent)
        assert answer_to(connection).startswith(b"HTTP/1.1 400 ")
    assert '"ERROR"' not in service.log()


def test_who_offers_another_protocol_is_answered_in_this_one(service: Service) -> None:
    """Some clients offer HTTP/2 with every request, with a body too."""
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAA\r\n"
    key, body = f"X-API-KEY: {service.key}\r\n".encode(), b'{"query": "{ __typename }"}'
    post = HEAD + key + offer + b"Content-Length: %d\r\n\r\n" % len(body) + body
    requests = [LIVEZ + offer + b"\r\n", post, post]
    with connected(service) as connection:
        for request in requests:
            connection.sendall(request)
            assert one_answer(connection).startswith(b"HTTP/1.1 200 ")
        connection.sendall(b"".join(requests) + LIVEZ + b"Connection: close\r\n\r\n")
        assert answer_to(connection).count(b"HTTP/1.1 200 ") == len(requests) + 1


def test_who_waits_for_leave_to_send_a_body_gets_it(service: Service) -> None:
    head = HEAD + f"X-API-KEY: {service.key}\r\n".encode() + b"Expect: 100-continue\r\n"
    body = b'{"query": "{ __typename }"}'
    with connected(service) as connection:
        connection.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body))
        assert one_answer(connection) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert one_answer(connection).startswith(b"HTTP/1.1 200 ")
