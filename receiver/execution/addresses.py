"""Which addresses no executor has: link-local, metadata services, what is no host; and private ones, without leave."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

# Refused also where private ranges are allowed. The single addresses are the metadata services of AWS (over IPv6),
# Google (over IPv6), Azure, Alibaba and Oracle; the link-local one that all of them share is in its range.
_REFUSED = tuple(
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8",
        "100.100.100.200/32",
        "168.63.129.16/32",
        "169.254.0.0/16",
        "192.0.0.192/32",
        "224.0.0.0/3",
        "::/128",
        "fd00:ec2::/32",
        "fd20:ce::254/128",
        "fe80::/10",
        "ff00::/8",
    )
)
_NAT64 = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("64:ff9b:1::/48"))  # RFC 6052, RFC 8215
_ISATAP = (0x00005EFE, 0x02005EFE)  # RFC 5214, 6.1
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class ForbiddenAddress(OSError):
    """The name resolves to an address that no executor has."""


class GuardedResolver(AbstractResolver):
    """Resolves a name once, and refuses addresses that no executor has. What it returns is what is connected to.

    private: whether the executor may stand in a private range.
    """

    def __init__(self, *, private: bool) -> None:
        self._resolver = ThreadedResolver()
        self._private = private

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        for result in found:
            # One such address spoils the answer: nobody knows which of them a connection would go to.
            why = _refusal(host, result["host"], self._private)
            if why is not None:
                raise ForbiddenAddress(why)
        return found

    async def close(self) -> None:
        await self._resolver.close()


def is_forbidden(address: str) -> bool:
    """Whether an IP address is link-local, a metadata service's, or no address of a host; False for a name."""
    parsed = _parsed(address)
    return parsed is not None and any(_in_refused(each) for each in _with_what_is_inside(parsed))


def is_private(address: str) -> bool:
    """Whether an IP address is nobody's on the internet: RFC 1918, loopback, ULA, shared; False for a name."""
    parsed = _parsed(address)
    return parsed is not None and any(not each.is_global for each in _leads_to(parsed))


def forbidden_target(url: str, *, private: bool) -> str | None:
    """Why `url` may not be an executor's address, where that can be told without asking the network; else None."""
    try:
        host = urlsplit(url).hostname
    except ValueError:
        host = None
    if not host:
        return "the executor's address is not a URL with a host"
    return _refusal(host, host, private)


def _refusal(host: str, address: str, private: bool) -> str | None:
    """Why `host`, which is `address`, may not be called."""
    if is_forbidden(address):
        words = "a link-local or metadata address"
    elif not private and is_private(address) and not _names_this_machine(host):
        words = "a private address: if that is meant, say `private: true`"
    else:
        return None
    return f"{host} is {words}" if host == address else f"{host} is {address}, {words}"


def _names_this_machine(host: str) -> bool:
    """Whether the configuration says loopback by itself: it needs no other word for that."""
    parsed = _parsed(host)
    return host == "localhost" or (parsed is not None and parsed.is_loopback)


def _parsed(address: str) -> _Address | None:
    try:
        return ipaddress.ip_address(address.split("%")[0])
    except ValueError:
        return None


def _in_refused(address: _Address) -> bool:
    return any(address.version == network.version and address in network for network in _REFUSED)


def _with_what_is_inside(address: _Address) -> list[_Address]:
    return [address, *_inside(address)]


def _leads_to(address: _Address) -> list[_Address]:
    """The addresses that a packet to `address` ends at: the IPv4 ones where it is a wrapping of them."""
    return list(_inside(address)) or [address]


def _inside(address: _Address) -> Iterator[ipaddress.IPv4Address]:
    """The IPv4 addresses in IPv6's clothes: each leads to the same place."""
    if isinstance(address, ipaddress.IPv4Address):
        return
    number = int(address)
    last = ipaddress.IPv4Address(number & 0xFFFFFFFF)
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield address.teredo[1]
    if any(address in network for network in _NAT64):
        yield last
    if address in _NAT64[1]:
        # The prefix of 48 bits may also carry it around the byte in the middle (RFC 6052, 2.2).
        yield ipaddress.IPv4Address((number >> 64 & 0xFFFF) << 16 | (number >> 40 & 0xFFFF))
    if number >> 32 == 0 and number > 1:
        yield last  # "IPv4-compatible" (RFC 4291, 2.5.5.1)
    if number >> 32 == 0xFFFF0000:
        yield last  # "IPv4-translated" (RFC 2765, 2.1)
    if number >> 32 & 0xFFFFFFFF in _ISATAP:
        yield last
