"""Limits the rate of each client and of all together, with token buckets in a bounded table. Pure."""

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

Networks = tuple[str, ...]
Address = IPv4Address | IPv6Address

CLIENTS = 20_000  # in each of two generations; beyond that, the least recent are dropped and start with a full bucket


class Bucket:
    """A token bucket; a large batch may overdraw it, and then the next one waits longer."""

    __slots__ = ("_at", "_burst", "_rate", "_tokens")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate, self._burst, self._tokens, self._at = rate, burst, burst, now

    def wait(self, now: float) -> float:
        """Return the seconds until a request may pass; 0 if now."""
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        return 0.0 if self._tokens > 0 else (1 - self._tokens) / self._rate

    def take(self, number: float) -> None:
        """Take tokens."""
        self._tokens -= number


class Limiter:
    """A bucket of events for each client's network, and one for all together."""

    def __init__(self, rate: float, burst: float, total_rate: float, total_burst: float, now: float) -> None:
        self._rate, self._burst = rate, burst
        self._total = Bucket(total_rate, total_burst, now)
        self._young: dict[str, Bucket] = {}
        self._old: dict[str, Bucket] = {}

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def wait(self, client: str, now: float) -> float:
        """Return the seconds until this client may send; 0 if now. Takes one token, even from the refused."""
        bucket = self._bucket(client, now)
        wait = max(bucket.wait(now), self._total.wait(now))
        bucket.take(1)
        return wait

    def take(self, client: str, events: int, now: float) -> None:
        """Take tokens for the events of a request."""
        self._bucket(client, now).take(max(events - 1, 0))
        self._total.take(events)

    def _bucket(self, client: str, now: float) -> Bucket:
        bucket = self._young.get(client)
        if bucket is None:
            if len(self._young) >= CLIENTS:
                self._old, self._young = self._young, {}
            bucket = self._old.pop(client, None) or Bucket(self._rate, self._burst, now)
            self._young[client] = bucket
        return bucket


class Clients:
    """Finds the client of a request: the rightmost hop of X-Forwarded-For that is not a trusted proxy."""

    def __init__(self, trusted: Networks) -> None:
        self._trusted = [ip_network(network, strict=False) for network in trusted]
        self._is_ours = lru_cache(256)(self._is_trusted)  # proxies are few, and the comparison costs 10 µs

    def address(self, peer: str, forwarded: str) -> str:
        """Return the client's address; hops further left in the header are the client's own claim."""
        if not forwarded:
            return peer
        current = peer
        for hop in reversed([part.strip() for part in forwarded.split(",") if part.strip()]):
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

    def network(self, peer: str, forwarded: str) -> str:
        """Return the client's network: /24, or /56, which one IPv6 customer has. The address itself is not kept."""
        address = _parsed(self.address(peer, forwarded))
        if address is None:
            return ""
        if isinstance(address, IPv4Address):
            return str(address).rpartition(".")[0]
        return str(IPv6Network((address, 56), strict=False))


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
