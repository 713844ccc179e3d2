"""Which addresses no executor has: link-local, metadata services, and what is no host at all."""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

# Private ranges are allowed: executors often are private. The single addresses are the metadata services of AWS (over
# IPv6), Google (over IPv6), Azure, Alibaba and Oracle; the link-local one that all of them share is in its range.
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
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class ForbiddenAddress(OSError):
    """The name resolves to an address that no executor has."""


class GuardedResolver(AbstractResolver):
    """Resolves a name once, and refuses addresses that no executor has. What it returns is what is connected to."""

    def __init__(self) -> None:
        self._resolver = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        for result in found:
            if is_forbidden(result["host"]):
                raise ForbiddenAddress(f"{host} is {result['host']}, a link-local or metadata address")
        return found

    async def close(self) -> None:
        await self._resolver.close()


def is_forbidden(address: str) -> bool:
    """Whether an IP address is link-local, a metadata service's, or no address of a host; False for a name."""
    try:
        parsed = ipaddress.ip_address(address.split("%")[0])
    except ValueError:
        return False
    # An IPv4 address in IPv6's clothes leads to the same place.
    if isinstance(parsed, ipaddress.IPv6Address):
        inner = parsed.ipv4_mapped or parsed.sixtofour
        if parsed in _NAT64:
            inner = ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF)
        if inner is not None:
            return is_forbidden(str(inner))
    return any(parsed.version == network.version and parsed in network for network in _REFUSED)


def forbidden_target(url: str) -> str | None:
    """Why `url` may not be an executor's address, where that can be told without asking the network; else None."""
    try:
        host = urlsplit(url).hostname
    except ValueError:
        host = None
    if not host:
        return "the executor's address is not a URL with a host"
    return f"{host} is a link-local or metadata address" if is_forbidden(host) else None
