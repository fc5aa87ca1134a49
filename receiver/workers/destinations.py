"""Remembers, for one channel, how each address and each host behind it is doing, and how much may be sent there. Pure.

One bad address must not keep the others waiting: it gets its own circuit and a part of the slots. A host is held to be
down when connections fail, or when several of its addresses fail and none succeeds in between.

What is under way when we are killed is sent again, so no more is under way than the host's answers are slow: four at
once make 80 a second where an answer takes 50 ms, and 40 where it takes 100, which is more than any provider takes from
one customer.
"""

import math
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from receiver.channels.base import Failure
from receiver.store.base import ANY, Ask, Given, Wanted
from receiver.workers.circuit_breaker import CircuitBreaker

AT_HOST, AT_HOST_URGENT = 12, 16  # messages under way at once at a slow host; the last of them are kept for a P1
AT_HOST_LEAST = 4  # at one that answers at once
_RATE = 40.0  # messages a second, for which there may be as many under way as it takes
_LATE = 1.0  # seconds without an answer, until when it may be we who are late
_RATE_LATE = 20.0  # as the rate above, for each second more
_ANSWERS = 16  # the fastest of the last ones says how slow a host is: the others, or a few, may have waited for us
AT_ADDRESS, AT_ADDRESS_URGENT = 8, 10  # of these 16; one address that hangs leaves room for others
AT_SUSPECT = 2  # an address whose last attempt failed
_LEAST = 99  # after all ranks
LARGEST = 1000  # addresses that are remembered, beside those where something is under way or has failed
_FAULTS = {Failure.TIMEOUT, Failure.NETWORK, Failure.SERVER_ERROR, Failure.AUTH}
_PROVE_NOTHING = {Failure.INTERNAL, Failure.BAD_ADDRESS, Failure.NOT_CONFIGURED}  # it may be that nothing was sent
_SEVERAL = 3  # addresses of one host


class Host:
    """What several addresses share."""

    def __init__(self) -> None:
        self.circuit = CircuitBreaker()
        self.failing: set[str] = set()  # addresses that have failed since one last succeeded
        self.under_way = 0  # messages
        self._waiting: list[float] = []  # when those began that have no answer yet
        self._took: deque[float] = deque(maxlen=_ANSWERS)  # seconds

    def begin(self, now: float) -> None:
        """A message is under way."""
        self.under_way += 1
        self._waiting.append(now)
        self.circuit.begin()

    def answered(self, began: float, now: float) -> None:
        """A message that ``began`` then has an answer, or has failed; it is under way until that is on the disk."""
        self._waiting.remove(began)
        self._took.append(now - began)

    def end(self) -> None:
        """A message that was answered is no longer under way."""
        self.under_way -= 1

    def most(self, now: float, *at_slow_host: int) -> tuple[int, ...]:
        """Say how many messages may be under way, of each of those that may be if the host is slow."""
        late = now - min(self._waiting, default=now) - _LATE
        takes = min(self._took) if len(self._took) == _ANSWERS else 0.0
        wanted = max(takes * _RATE, AT_HOST_LEAST + late * _RATE_LATE)
        share = min(max(wanted, AT_HOST_LEAST), AT_HOST_URGENT) / AT_HOST_URGENT
        return tuple(max(math.ceil(most * share), AT_HOST_LEAST - 1) for most in at_slow_host)

    def may_take_more(self, now: float) -> bool:
        """Say whether there is room here as soon as what is under way has taken longer."""
        return bool(self._waiting) and self.most(now, AT_HOST_URGENT) < (AT_HOST_URGENT,)

    def failed(self, address: str, failure: Failure, now: float) -> None:
        """Count a failure if it may be the host's."""
        if failure is Failure.AUTH:  # it has answered: the key of one address is wrong
            self.circuit.untried()
            return
        self.failing = {*self.failing, address} if len(self.failing) < _SEVERAL else self.failing
        if failure is Failure.NETWORK or len(self.failing) >= _SEVERAL:
            self.circuit.failed(now)
        else:
            self.circuit.untried()

    def succeeded(self) -> bool:
        """Believe in it; True if it had been held to be down."""
        self.failing = set()
        return self.circuit.succeeded()


class Destination:
    """One address. ``parked``: what waits for it is claimed by its name only."""

    def __init__(self, address: str, host: Host) -> None:
        self.address, self.host = address, host
        self.circuit = CircuitBreaker()
        self.under_way, self.parked = 0, False
        self._paced_until = self._refused_until = float("-inf")

    @property
    def is_paused(self) -> bool:
        """Say whether its own circuit, or its host's, is open."""
        return self.circuit.is_open or self.host.circuit.is_open

    @property
    def suspicion(self) -> int:
        """Say how often it has failed in a row, while its host is held to be down: who has failed least tries that."""
        return self.circuit.failures if self.host.circuit.is_open else 0

    @property
    def is_idle(self) -> bool:
        """Say whether there is nothing to remember."""
        return not (self.under_way or self.parked or self.circuit.failures)

    def room(self, now: float, *, urgent: bool) -> int:
        """Say how many messages may be sent there now."""
        return max(0, min(self._rooms(now, urgent=urgent)))

    def _rooms(self, now: float, *, urgent: bool) -> tuple[int, int]:
        """Say how many may be sent to it, and how many to its host."""
        if now < self._refused_until or (now < self._paced_until and not urgent):
            return 0, 0
        if self.host.circuit.is_open and not self.circuit.failures:
            # Whether it is the host that is down, or only those that have failed, is best tried here, and at once.
            return AT_SUSPECT, AT_SUSPECT - self.host.under_way
        if not (self.circuit.ready(now) and self.host.circuit.ready(now)):
            return 0, 0
        if self.is_paused:
            return 1, 1 if self.host.circuit.is_open else AT_HOST_URGENT
        slow = (AT_ADDRESS_URGENT, AT_HOST_URGENT) if urgent else (AT_ADDRESS, AT_HOST)
        at_address, at_host = self.host.most(now, *slow)
        if self.circuit.failures:
            at_address = AT_SUSPECT
        return at_address - self.under_way, at_host - self.host.under_way

    def demand(self, now: float) -> "Demand":
        """Say how it stands when room is shared out."""
        rest, urgent = self._rooms(now, urgent=False), self._rooms(now, urgent=True)
        return Demand(self, self.suspicion, self.is_paused, (rest[0], urgent[0]), (rest[1], urgent[1]))

    def begin(self, now: float) -> "Place":
        """A message is under way; what became of it must be said to its place."""
        self.under_way += 1
        self.circuit.begin()
        self.host.begin(now)
        return Place(self, now)

    def pace(self, until: float) -> None:
        """Send nothing but P1 there until then: our own wish."""
        self._paced_until = max(self._paced_until, until)

    def refuse(self, until: float) -> None:
        """Send nothing there until then: the provider's wish."""
        self._refused_until = max(self._refused_until, until)

    def untried(self) -> None:
        """Nothing was sent."""
        self.circuit.untried()
        self.host.circuit.untried()


class Demand(NamedTuple):
    """An address that is served by itself as it stands at one moment: room for what is no P1, and for a P1."""

    destination: Destination
    suspicion: int
    is_paused: bool
    at_address: tuple[int, int]
    at_host: tuple[int, int]

    @property
    def room(self) -> int:
        """Say how many messages may be sent there if all are P1."""
        return max(0, min(self.at_address[1], self.at_host[1]))


class Shares:
    """Shares out the room there is at one moment: to addresses that are served by themselves, then to all others.

    It is asked inside a transaction, in another thread, so it looks at nothing that changes.
    """

    def __init__(self, demands: Sequence[Demand], free: tuple[int, int]) -> None:
        """``free`` messages can be under way besides, if they are no P1, and if they are."""
        self._demands, self._free = demands, free

    def __call__(self, ranks: Mapping[str, int], given: Sequence[Given]) -> Iterator[Ask]:
        """See receiver.store.base.Asking; the address with the most urgent page is the first."""
        taken, total = Counter[Host](), 0
        for one in sorted(self._demands, key=lambda one: (one.suspicion, ranks.get(one.destination.address, _LEAST))):
            address, host = one.destination.address, one.destination.host
            rooms = zip(one.at_address, one.at_host, self._free, strict=True)
            rest, urgent = (min(here, there - taken[host], free - total) for here, there, free in rooms)
            if urgent <= 0:
                continue
            whole = rest > 0  # else there is room for nothing but a P1
            wanted = Wanted(address, urgent=None if whole else True, trial=one.is_paused and whole)
            yield Ask(rest if whole else urgent, wanted)
            count = len(given[-1].claims)
            taken[host], total = taken[host] + count, total + count
        spare, left = (free - total for free in self._free)
        if left > 0:  # the last are kept for a P1, which overtakes everything
            yield Ask(spare, ANY) if spare > 0 else Ask(left, Wanted(urgent=True))


class Place:
    """One message's place among those that are under way."""

    def __init__(self, destination: Destination, began: float) -> None:
        self._destination, self._began = destination, began

    def answered(self, now: float) -> None:
        """It has an answer, or has failed."""
        self._destination.host.answered(self._began, now)

    def free(self) -> None:
        """Let another one be begun, when it is answered."""
        self._destination.under_way -= 1
        self._destination.host.end()


class Destinations:
    """The addresses of one channel; ``host_of`` names the host behind an address."""

    def __init__(self, host_of: Callable[[str], str]) -> None:
        self._host_of = host_of
        self._hosts: dict[str, Host] = {}
        self._known: dict[str, Destination] = {}

    def of(self, address: str) -> Destination:
        """Give what is remembered of an address."""
        known = self._known.get(address)
        if known is not None:
            return known
        if len(self._known) >= LARGEST:
            self._forget()
        host = self._hosts.setdefault(self._host_of(address), Host())
        fresh = self._known[address] = Destination(address, host)
        return fresh

    def are_open(self, address: str) -> bool:
        """Say whether an address and its host work as far as is known, and nothing waits there."""
        known = self._known.get(address)
        if known is not None:
            return not (known.parked or known.circuit.failures or known.host.circuit.failures)
        host = self._hosts.get(self._host_of(address))
        return host is None or not host.circuit.failures

    def parked(self) -> list[Destination]:
        """Give those that are served by themselves."""
        return [one for one in self._known.values() if one.parked]

    def may_take_more(self, now: float) -> bool:
        """Say whether what is parked may have room soon, though nothing ends until then."""
        return any(one.host.may_take_more(now) for one in self.parked())

    def failed(self, destination: Destination, failure: Failure, now: float) -> list[Destination]:
        """Count a failure; gives the addresses that are no longer held to be down, for a refusal is an answer."""
        if failure in _FAULTS:
            destination.circuit.failed(now)
            destination.host.failed(destination.address, failure, now)
        elif failure in _PROVE_NOTHING:
            destination.untried()
        else:
            return self.succeeded(destination)
        return []

    def succeeded(self, destination: Destination) -> list[Destination]:
        """Count an answer; gives the addresses that are no longer held to be down."""
        closed, host_closed = destination.circuit.succeeded(), destination.host.succeeded()
        if host_closed:
            return [one for one in self._known.values() if one.host is destination.host and not one.circuit.is_open]
        return [destination] if closed else []

    @property
    def hosts_down(self) -> int:
        """Count the hosts that are held to be down."""
        return sum(host.circuit.is_open for host in self._hosts.values())

    @property
    def addresses_paused(self) -> int:
        """Count the addresses that are held to be down, by themselves or with their host."""
        return sum(one.is_paused for one in self._known.values())

    def _forget(self) -> None:
        """Make room: half of the addresses of which there is nothing to remember."""
        idle = [address for address, one in self._known.items() if one.is_idle]
        for address in idle[: len(idle) // 2 + 1]:
            del self._known[address]
        hosts = {one.host for one in self._known.values()}
        self._hosts = {name: host for name, host in self._hosts.items() if host in hosts}
