"""Finds the client of a request behind proxies: its address, and the networks that count as one client. Pure."""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

from multidict import CIMultiDictProxy

Networks = tuple[str, ...]
Address = IPv4Address | IPv6Address

# An IPv6 customer has a /56; whoever has a /48 or a /32 has many. A limit for each prefix may be so many times that of
# a client.
PREFIXES = {56: 1, 48: 4, 32: 16}
_MAX_HOPS = 32  # of X-Forwarded-For that are looked at
_DOTS = 3  # of an IPv4 address


class Clients:
    """Finds the client of a request: the rightmost hop of X-Forwarded-For that is not a trusted proxy."""

    def __init__(self, trusted: Networks) -> None:
        self._trusted = [ip_network(network, strict=False) for network in trusted]
        self.trusts = lru_cache(256)(self._is_trusted)  # proxies are few, and the comparison costs 10 µs

    def address(self, peer: str, forwarded: Sequence[str]) -> str:
        """Return the client's address; ``forwarded`` has the lines of X-Forwarded-For.

        Hops further left, in a line or in earlier lines, are the client's own claim; RFC 9110, 5.3: the lines are one
        list.
        """
        if not forwarded:
            return peer
        current = peer
        for hop in reversed([part.strip() for part in ",".join(forwarded).split(",") if part.strip()][-_MAX_HOPS:]):
            if not self.trusts(current):
                break
            parsed = _parsed(hop)
            if parsed is None:
                break
            current = str(parsed)
        return current

    def _is_trusted(self, address: str) -> bool:
        parsed = _parsed(address)
        return parsed is not None and any(parsed in network for network in self._trusted)

    def networks(self, peer: str, forwarded: Sequence[str]) -> tuple[str, ...]:
        """Return the client's networks, narrowest first: a /24, or /56, /48 and /32. The address itself is not kept."""
        text = self.address(peer, forwarded)
        if text.count(".") == _DOTS and ":" not in text:  # it was parsed before, or the socket has it; 2 µs less
            return (text.rpartition(".")[0],)
        address = _parsed(text)
        if address is None:
            return ("",)
        if isinstance(address, IPv4Address):
            return (str(address).rpartition(".")[0],)
        return tuple(str(IPv6Network((address, prefix), strict=False)) for prefix in PREFIXES)


def forwarded(headers: CIMultiDictProxy[str]) -> Sequence[str]:
    """Return every line of X-Forwarded-For: a proxy may add one of its own below the client's."""
    return headers.getall("X-Forwarded-For", ())


def _parsed(text: str) -> Address | None:
    """Parse an address as proxies write it: bare, with a port, in brackets."""
    text = text.strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address
