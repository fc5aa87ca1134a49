"""Limits the rate of each client and of all together, with token buckets in a bounded table. Pure."""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

from multidict import CIMultiDictProxy

Networks = tuple[str, ...]
Address = IPv4Address | IPv6Address

# An IPv6 customer has a /56; whoever has a /48 or a /32 has many. Each prefix has a bucket, which holds so many times
# the events of a client's.
_PREFIXES = {56: 1, 48: 4, 32: 16}
_QUIET_SHARE = 0.25  # of all events, kept for the networks that have sent less than half of their own burst
_MAX_HOPS = 32  # of X-Forwarded-For that are looked at
_DOTS = 3  # of an IPv4 address
CLIENTS = 20_000  # in each of two generations; beyond that, the least recent are dropped and start with a full bucket


class Bucket:
    """A token bucket; a large batch may overdraw it, and then the next one waits longer."""

    __slots__ = ("_at", "_burst", "_rate", "_tokens")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate, self._burst, self._tokens, self._at = rate, burst, burst, now

    def wait(self, now: float, reserve: float = 0.0) -> float:
        """Return the seconds until a request may pass that leaves ``reserve`` tokens to others; 0 if now."""
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        return 0.0 if self._tokens > reserve else (reserve + 1 - self._tokens) / self._rate

    def is_quiet(self) -> bool:
        """Whether at least half of the burst is left."""
        return self._tokens >= self._burst / 2

    def take(self, number: float) -> None:
        """Take tokens."""
        self._tokens -= number


class Limiter:
    """Buckets of events for the networks of each client, narrowest first, and one for all together."""

    def __init__(self, rate: float, burst: float, total_rate: float, total_burst: float, now: float) -> None:
        self._rate, self._burst = rate, burst
        self._total, self._reserve = Bucket(total_rate, total_burst, now), total_burst * _QUIET_SHARE
        self._young: dict[str, Bucket] = {}
        self._old: dict[str, Bucket] = {}

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def wait(self, client: Sequence[str], now: float) -> float:
        """Return the seconds until this client may send; 0 if now. Takes one token, even from the refused.

        Who is refused by a narrow network's bucket takes nothing from the wider ones, which others share.
        """
        quiet = True
        for network in client:
            bucket = self._bucket(network, now)
            wait = bucket.wait(now)
            quiet = quiet and bucket.is_quiet()
            bucket.take(1)
            if wait:
                return wait
        return self._total.wait(now, 0.0 if quiet else self._reserve)

    def take(self, client: Sequence[str], events: int, now: float) -> None:
        """Take tokens for the events of a request."""
        for network in client:
            self._bucket(network, now).take(max(events - 1, 0))
        self._total.take(events)

    def _bucket(self, network: str, now: float) -> Bucket:
        bucket = self._young.get(network)
        if bucket is None:
            if len(self._young) >= CLIENTS:
                self._old, self._young = self._young, {}
            bucket = self._old.pop(network, None) or self._new(network, now)
            self._young[network] = bucket
        return bucket

    def _new(self, network: str, now: float) -> Bucket:
        prefix = network.rpartition("/")[2]
        times = _PREFIXES.get(int(prefix), 1) if prefix.isdecimal() and ":" in network else 1
        return Bucket(self._rate * times, self._burst * times, now)


class Clients:
    """Finds the client of a request: the rightmost hop of X-Forwarded-For that is not a trusted proxy."""

    def __init__(self, trusted: Networks) -> None:
        self._trusted = [ip_network(network, strict=False) for network in trusted]
        self._is_ours = lru_cache(256)(self._is_trusted)  # proxies are few, and the comparison costs 10 µs

    def address(self, peer: str, forwarded: Sequence[str]) -> str:
        """Return the client's address; ``forwarded`` has the lines of X-Forwarded-For.

        Hops further left, in a line or in earlier lines, are the client's own claim; RFC 9110, 5.3: the lines are one
        list.
        """
        if not forwarded:
            return peer
        current = peer
        for hop in reversed([part.strip() for part in ",".join(forwarded).split(",") if part.strip()][-_MAX_HOPS:]):
            if not self._is_ours(current):
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
        return tuple(str(IPv6Network((address, prefix), strict=False)) for prefix in _PREFIXES)


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
