"""Knows what one peer has been told, and drafts the next message for it. Pure."""

from typing import Any, NamedTuple

import msgspec

from exporter.registry.replication_log import ReplicationLog
from exporter.registry.series import Labels
from exporter.registry.state import State
from exporter.replication.message import MAX_BODY, MAX_FACTS, MAX_GAUGES, MAX_SKETCHES, GaugeValue, Message, Sketch


class Draft(NamedTuple):
    """A message, and where the peer is once it has taken it; ``more`` is left for another one."""

    message: Message
    body: bytes  # the same, encoded
    servers: int
    browsers: int
    versions: dict[str, int]
    more: bool

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing in it."""
        return not (self.message.facts or self.message.sketches or self.message.gauges)


class Progress:
    """Where a peer is. It is at the beginning when it starts: then it is told everything."""

    def __init__(self) -> None:
        self._state: State | None = None
        self.forget()

    def forget(self) -> None:
        """Begin again: the peer has restarted."""
        self._servers = self._browsers = 0
        self._forget_counts()

    def _forget_counts(self) -> None:
        self._versions: dict[str, int] = {}  # of the sketches, by family
        self._gauges: dict[tuple[str, Labels], tuple[float, float]] = {}

    def draft(self, state: State, log: ReplicationLog, boot: str, *, whole: bool) -> Draft:
        """Draft the next message, of a size that is taken: with ``whole`` also the sketches and gauges that changed."""
        for part in (1.0, 0.1, 0.01):  # 10 facts and gauges fit at their longest
            draft = self._draft(state, log, boot, part, whole=whole)
            if len(draft.body) <= MAX_BODY:
                break
        return draft

    def _draft(self, state: State, log: ReplicationLog, boot: str, part: float, *, whole: bool) -> Draft:
        if state is not self._state:  # a reload has replaced it
            self._state = state
            self._forget_counts()
        most = int(part * MAX_FACTS)
        facts, servers = log.servers.since(self._servers, most, log.durable)
        more, browsers = log.browsers.since(self._browsers, most - len(facts))
        sketches, versions = self._sketches(state) if whole else ([], {})
        gauges = self._changed_gauges(state, int(part * MAX_GAUGES)) if whole else []
        left = servers < log.durable or browsers < log.browsers.end
        full = len(sketches) == MAX_SKETCHES or len(gauges) == int(part * MAX_GAUGES)
        message = Message(boot=boot, facts=facts + more, sketches=sketches, gauges=gauges)
        return Draft(message, msgspec.msgpack.encode(message), servers, browsers, versions, left or full)

    def told(self, draft: Draft) -> None:
        """Note that the peer has taken a draft."""
        self._servers, self._browsers = draft.servers, draft.browsers
        self._versions |= draft.versions
        for gauge in draft.message.gauges:
            self._gauges[gauge.family, gauge.labels] = gauge.at, gauge.value

    def _sketches(self, state: State) -> tuple[list[Sketch], dict[str, int]]:
        found: list[Sketch] = []
        versions: dict[str, int] = {}
        for name, distinct in state.recorder.distinct.items():
            for version, length, index, registers in distinct.changed(self._versions.get(name, 0)):
                if len(found) == MAX_SKETCHES:
                    return found, versions
                found.append(Sketch(name, length, index, registers))
                versions[name] = version
        return found, versions

    def _changed_gauges(self, state: State, most: int) -> list[GaugeValue]:
        found: list[GaugeValue] = []
        for name in state.recorder.gauges:
            cells: dict[Labels, Any] = state.recorder.series[name].cells
            for labels, cell in cells.items():
                if cell.at and self._gauges.get((name, labels)) != (cell.at, cell.value):
                    found.append(GaugeValue(name, labels, float(cell.value), cell.at))
                    if len(found) == most:
                        return found
        return found
