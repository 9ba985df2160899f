"""Where a webhook may go: to public addresses alone, and to exactly the address that was checked.

Whoever may name a URL could otherwise have this machine ask its own neighbours. A name is looked up once for a
connection, and the connection goes to what was found and checked: a second answer, by then another one, is never asked.
"""

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias

import httpx

from ledger.domain.refusals import InvalidArgument
from ledger.domain.values import text_of
from service.webhooks.refusals import WebhookTargetForbidden

Resolver: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]
"""The addresses of a host, given its port; raises OSError."""
URL_CHARACTERS_MAX = 2000
PORTS = {"https": 443, "http": 80}
PORT_MAX = 65535
GLOBAL_UNICAST = IPv6Network("2000::/3")
TRANSLATED = IPv6Network("64:ff9b::/96")
"""What a translator on the way makes an IPv4 address of; it is in the last 32 bits."""
NOT_PUBLIC = tuple(map(ip_network, ("192.0.0.0/24", "192.88.99.0/24", "2001::/23", "2001:db8::/32", "3fff::/20")))
"""Relays, tunnels and examples, which not every version of Python knows."""


def checked_url(text: str, *, private_targets: bool) -> httpx.URL:
    """A URL that a webhook may have, as far as its text tells. Refuses: InvalidArgument."""
    try:
        url = httpx.URL(text_of(text, field="url", characters_max=URL_CHARACTERS_MAX))
        host = url.host
    except (httpx.InvalidURL, UnicodeError) as error:
        raise InvalidArgument("url", f"must be a URL: {error}") from None
    schemes = sorted(PORTS) if private_targets else ["https"]
    if url.scheme not in schemes or not host or "%" in host or not 0 < port_of(url) <= PORT_MAX:
        raise InvalidArgument("url", f"must be a whole {' or '.join(schemes)} URL")
    if url.userinfo or url.fragment:
        raise InvalidArgument("url", "must have no credentials and no fragment: messages are signed instead")
    return url


def port_of(url: httpx.URL) -> int:
    return PORTS[url.scheme] if url.port is None else url.port


async def resolve(host: str, port: int) -> Sequence[str]:
    """The addresses of a host as the system tells them, best first."""
    loop = asyncio.get_running_loop()
    told: asyncio.Future[Sequence[str]] = loop.create_future()

    def look_up() -> None:
        addresses, problem = [], None
        try:
            addresses = [str(place[4][0]) for place in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
        except Exception as error:  # whatever it is, it is told to whoever waits
            problem = error
        with suppress(RuntimeError):  # the loop has ended: nobody is there to be told
            loop.call_soon_threadsafe(tell, addresses, problem)

    def tell(addresses: Sequence[str], problem: Exception | None) -> None:
        if told.cancelled():
            return
        if problem is None:
            told.set_result(list(dict.fromkeys(addresses)))
        else:
            told.set_exception(problem)

    threading.Thread(target=look_up, name="webhooks-look-up", daemon=True).start()
    return await told


async def checked_addresses(url: httpx.URL, *, private_targets: bool, resolver: Resolver = resolve) -> Sequence[str]:
    """Where to connect to for a URL, best first. Refuses: WebhookTargetForbidden; raises OSError if nothing is found.

    One address that is not public forbids all: none of a name's answers may lead inside.
    """
    addresses = await resolver(url.host, port_of(url))
    if not addresses:
        raise OSError(f"{url.host} has no address")
    for address in addresses:
        if not private_targets and not is_public(address):
            raise WebhookTargetForbidden(url.host, address)
    return addresses


def is_public(text: str) -> bool:
    """Whether it is the address of one host on the public internet, in whatever form it is written."""
    try:
        address = ip_address(text)
    except ValueError:
        return False
    if isinstance(address, IPv6Address):
        inner = _inner(address)
        if inner is not None:
            return is_public(str(inner))
        if address not in GLOBAL_UNICAST or address.scope_id is not None:
            return False
    return (
        address.is_global
        and not address.is_multicast
        and not address.is_reserved
        and not any(address in network for network in NOT_PUBLIC)
    )


def _inner(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 one stands for, if it does."""
    if address in TRANSLATED:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour
