"""Where webhooks may go: to the public internet, over TLS, and nowhere else unless an operator says so."""

import asyncio
from collections.abc import Sequence

import pytest

from ledger.domain.refusals import InvalidArgument
from ledger.store.database import Database
from service.feed.messages import EVERYTHING
from service.webhooks.endpoints import create_endpoint
from service.webhooks.refusals import WebhookTargetForbidden
from service.webhooks.targets import checked_addresses, checked_url, is_public

PUBLIC = ("93.184.215.14", "1.1.1.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101", "2002:101:101::1")
INSIDE = (
    # this machine, and none
    "127.0.0.1", "127.255.255.254", "::1", "0.0.0.0", "0.1.2.3", "::",
    # its neighbours
    "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254", "100.64.0.1", "100.127.255.254",
    "192.0.0.1", "198.18.0.1", "fc00::1", "fd12:3456::1", "fe80::1", "fe80::1%eth0", "fec0::1",
    # many at once, examples, what is reserved
    "224.0.0.1", "239.255.255.250", "255.255.255.255", "240.0.0.1", "ff02::1", "ff0e::1", "192.0.2.1", "198.51.100.1",
    "203.0.113.1", "2001:db8::1", "3fff::1", "192.88.99.1", "100::1", "4000::1",
    # the same in other clothes: mapped, compatible, 6to4, NAT64, Teredo
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:a9fe:a9fe", "::127.0.0.1", "2002:7f00:1::1", "2002:a00:1::",
    "2002:c0a8:101::1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::a00:1", "2001:0:1:2:3:4:5:6",
    # what is no address
    "", "localhost", "127.1", "0x7f000001",
)  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_may_be_called_in_whatever_form(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", INSIDE)
def test_no_other_address_may(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/", "ftp://example.com/", "example.com", "https://", "https:///hook", "https://example.com:0/",
        "https://user:password@example.com/", "https://token@example.com/", "https://example.com/#part", "",
        "https://[fe80::1%25eth0]/", "https://exa mple.com/", "https://example.com/" + "a" * 2000, "https://h:99999999/",
        "javascript:alert(1)", "https://example.com/\n",
    ],
)  # fmt: skip
def test_only_a_whole_https_url_without_credentials_is_one(url: str) -> None:
    with pytest.raises(InvalidArgument, match="url"):
        checked_url(url, private_targets=False)


@pytest.mark.parametrize("host", ["a..b.example", ".example", "a" * 64 + ".example", "xn--a.example"])
def test_a_host_that_no_look_up_can_ask_for_is_refused_before_an_endpoint_is_made(host: str) -> None:
    nowhere = Database("host=/nowhere", "nothing")
    with pytest.raises(InvalidArgument, match="url"):
        create_endpoint(nowhere, url=f"https://{host}/hook", wanted=EVERYTHING)


def addresses(url: str, *found: str, private_targets: bool = False) -> Sequence[str]:
    async def resolver(_host: str, _port: int) -> Sequence[str]:
        return found

    checked = checked_url(url, private_targets=private_targets)
    return asyncio.run(checked_addresses(checked, private_targets=private_targets, resolver=resolver))


def test_one_address_inside_forbids_a_name() -> None:
    assert addresses("https://example.com:8443/hook?a=b", "1.1.1.1", "2606:4700::1111") == (
        "1.1.1.1",
        "2606:4700::1111",
    )
    with pytest.raises(WebhookTargetForbidden) as refused:
        addresses("https://example.com/", "1.1.1.1", "10.0.0.1")
    assert (refused.value.host, refused.value.address) == ("example.com", "10.0.0.1")


def test_an_operator_may_allow_what_is_inside_and_http() -> None:
    assert addresses("http://localhost:8080/", "127.0.0.1", private_targets=True) == ("127.0.0.1",)


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "127.1", "[::ffff:127.0.0.1]", "localhost", "0"])
def test_a_loopback_address_in_disguise_is_found_out_by_the_systems_own_look_up(host: str) -> None:
    with pytest.raises(WebhookTargetForbidden):
        asyncio.run(checked_addresses(checked_url(f"https://{host}/", private_targets=False), private_targets=False))
