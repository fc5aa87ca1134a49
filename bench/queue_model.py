"""A model of a storm: how long pages take with more incidents, receivers and teams than any machine here can start.

It runs no receiver and no database: a queue with a few servers is stepped through, event by event. What a webhook and a
page cost was measured (docs/scaling.md, docs/receiver.md); what a provider takes is in its documentation; how fast a
PostgreSQL is, is an assumption, and the model shows from where on it matters. Every receiver takes webhooks and pages
for all, P1 before everything else, as the store's claim does. A killed receiver's pages come again when its lease ends.
The table that it prints stands in docs/scaling.md.
"""

import heapq
import random
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count

WEBHOOK = 0.9e-3  # seconds of a receiver: 1,100 durable webhooks of ten alerts per second
PAGE = 0.65e-3  # a claim and a settle, 0.32 ms each
CHANGES_OF_WEBHOOK, CHANGES_OF_PAGE = 1, 2
ANSWER = 0.2  # seconds until a provider has answered
PER_MINUTE = 120  # what PagerDuty takes of one key
SINGLE, WINDOW = 20, 10.0  # pages below P1 of a key that are sent by themselves; then one for all of so many seconds
LEASE, RESTART, REPEAT = 8.0, 3.0, 1.0  # seconds: of a claim, until a killed receiver is back, of Alertmanager's retry
URGENT = 0.2  # of the incidents are P1
FIRST, SECOND, LAST = 0, 1, 2  # P1 pages, webhooks, other pages


@dataclass(frozen=True, slots=True)
class Storm:
    """So many incidents in so many seconds, of so many teams with a key each, and what stands against them."""

    name: str
    incidents: int
    seconds: float
    teams: int
    receivers: int = 1
    changes: float = float("inf")  # commits of changes to incidents and pages that the database does in a second
    killed_every: float = 0.0
    seed: int = 18


@dataclass(slots=True)
class Outcome:
    """When webhooks were answered and pages arrived, in seconds since each incident began; how busy everything was."""

    taken: list[float] = field(default_factory=list)
    last_taken: float = 0.0
    urgent: list[float] = field(default_factory=list)
    told: int = 0  # incidents that reached somebody, alone or in a message of several
    messages: int = 0
    repeats: int = 0
    waited_for_provider: float = 0.0
    busy: float = 0.0
    committing: float = 0.0


@dataclass(frozen=True, slots=True, order=True)
class Job:
    """A webhook to be taken, or a page to be sent; the number makes the order total."""

    rank: int
    ready: float
    number: int
    began: float = field(compare=False)
    team: int = field(compare=False)
    is_urgent: bool = field(compare=False)
    incidents: int = field(compare=False, default=1)


class Model:
    """One storm, stepped through in the order of time."""

    def __init__(self, storm: Storm) -> None:
        self._storm, self._numbers = storm, count()
        self._chance = random.Random(storm.seed)  # noqa: S311  # example data
        self._later: list[tuple[float, Job]] = []
        self._waiting: list[Job] = []
        self._free = [0.0] * storm.receivers
        every = storm.killed_every or float("inf")
        self._kill = [every * (number + 1) for number in range(storm.receivers)]  # of each, the next one
        self._database = 0.0
        self._sent: dict[int, deque[float]] = defaultdict(lambda: deque(maxlen=PER_MINUTE))
        self._singles: dict[int, int] = defaultdict(int)
        self._bundle: dict[int, tuple[float, int]] = {}
        self.outcome = Outcome()

    def run(self) -> Outcome:
        """Give what became of all incidents."""
        for at in sorted(self._chance.uniform(0, self._storm.seconds) for _ in range(self._storm.incidents)):
            team, urgent = self._chance.randrange(self._storm.teams), self._chance.random() < URGENT
            self._add(Job(SECOND, at, next(self._numbers), at, team, urgent))
        while self._later or self._waiting:
            self._step()
        return self.outcome

    def _add(self, job: Job) -> None:
        heapq.heappush(self._later, (job.ready, job))

    def _step(self) -> None:
        """Let the receiver that is free first do what is most urgent then."""
        receiver = min(range(len(self._free)), key=self._free.__getitem__)
        now = self._free[receiver]
        if not self._waiting and self._later:
            now = max(now, self._later[0][0])
        if self._kill[receiver] <= now:
            self._free[receiver] = max(self._free[receiver], self._kill[receiver] + RESTART)
            self._kill[receiver] += self._storm.killed_every * self._storm.receivers
            return
        while self._later and self._later[0][0] <= now:
            heapq.heappush(self._waiting, heapq.heappop(self._later)[1])
        job = heapq.heappop(self._waiting)
        cost, changes = (WEBHOOK, CHANGES_OF_WEBHOOK) if job.rank == SECOND else (PAGE, CHANGES_OF_PAGE)
        self._database = max(self._database, now) + changes / self._storm.changes
        done = max(now + cost, self._database)
        self.outcome.busy += cost
        self.outcome.committing += changes / self._storm.changes
        self._free[receiver] = done
        if job.rank == SECOND:
            self._take(receiver, job, done)
        else:
            self._send(receiver, job, done)

    def _take(self, receiver: int, job: Job, done: float) -> None:
        killed = self._kill[receiver]
        if killed < done:  # no 200: Alertmanager sends it again
            self._add(Job(SECOND, killed + REPEAT, next(self._numbers), job.began, job.team, job.is_urgent))
            return
        self.outcome.taken.append(done - job.began)
        self.outcome.last_taken = max(self.outcome.last_taken, done)
        if job.is_urgent:
            self._add(Job(FIRST, done, next(self._numbers), job.began, job.team, is_urgent=True))
        elif self._singles[job.team] < SINGLE:
            self._singles[job.team] += 1
            self._add(Job(LAST, done, next(self._numbers), job.began, job.team, is_urgent=False))
        else:
            self._bundled(job, done)

    def _bundled(self, job: Job, done: float) -> None:
        """Put it into the team's next message; the first of a message adds it, the others count on it."""
        end, known = self._bundle.get(job.team, (0.0, 0))
        if done > end:
            end, known = done + WINDOW, 0
            self._add(Job(LAST, end, next(self._numbers), job.began, job.team, is_urgent=False, incidents=0))
        self._bundle[job.team] = (end, known + 1)
        self.outcome.told += 1

    def _send(self, receiver: int, job: Job, done: float) -> None:
        sent = self._sent[job.team]
        start = done if len(sent) < PER_MINUTE else max(done, sent[0] + 60.0)
        self.outcome.waited_for_provider = max(self.outcome.waited_for_provider, start - done)
        answered = start + ANSWER
        killed = self._kill[receiver]
        if killed < answered:  # whether it arrived is not known: it comes again
            self.outcome.repeats += 1
            again = killed + LEASE
            self._add(Job(job.rank, again, next(self._numbers), job.began, job.team, job.is_urgent, job.incidents))
            return
        sent.append(start)
        self.outcome.messages += 1
        self.outcome.told += job.incidents
        if job.is_urgent:
            self.outcome.urgent.append(answered - job.began)


def share(values: Sequence[float], part: float) -> float:
    """Give the value that this part of all is not above."""
    return sorted(values)[min(len(values) - 1, int(part * len(values)))]


def limit(storm: Storm, outcome: Outcome) -> str:
    """Name what pages waited for."""
    lasting = max(outcome.last_taken, storm.seconds)
    busy = {
        "receivers": outcome.busy / lasting / storm.receivers,
        "database": outcome.committing / lasting,
    }
    name = max(busy, key=busy.__getitem__)
    if outcome.waited_for_provider > 1:
        return "the provider"
    return f"the {name}" if busy[name] > 0.9 else "nothing"


STORMS = (
    Storm("a team", 50, 10, 1),
    Storm("ten times that", 500, 10, 10),
    Storm("a thousand times, one receiver", 50_000, 60, 1_000),
    Storm("a thousand times, three receivers", 50_000, 60, 1_000, 3, 4_000),
    Storm("three, one killed every 5 s", 50_000, 60, 1_000, 3, 4_000, 5),
    Storm("three, but 50 teams instead of 1,000", 50_000, 60, 50, 3, 4_000),
    Storm("ten thousand times, three receivers", 500_000, 60, 10_000, 3, 4_000),
    Storm("the same by ten installations of three, each", 50_000, 60, 1_000, 3, 4_000),
)


def table(storms: Sequence[Storm]) -> Iterator[str]:
    """Write a line for each storm, as in docs/scaling.md."""
    yield "| | incidents | within | all taken after | P1: half | P1: 99 of 100 | messages | sent again | waited for |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |"
    for storm in storms:
        outcome = Model(storm).run()
        assert outcome.told == storm.incidents
        half, most = share(outcome.urgent, 0.5), share(outcome.urgent, 0.99)
        yield (
            f"| {storm.name} | {storm.incidents:,} | {storm.seconds:.0f} s | {outcome.last_taken:.0f} s | {half:.2f} s "
            f"| {most:.2f} s | {outcome.messages:,} | {outcome.repeats} | {limit(storm, outcome)} |"
        )


def main() -> None:
    for line in table(STORMS):
        print(line, flush=True)


if __name__ == "__main__":
    main()
