"""What one exporter tells another: the ids that it has counted, sketches of distinct counts, and gauges. Pure.

Every field has a bound, and what a newer version adds is ignored.
"""

import math
from typing import Annotated

import msgspec

from exporter.registry.hyperloglog import REGISTERS
from exporter.registry.replication_log import Fact, ReplicationLog
from exporter.registry.state import State

MAX_FACTS = MAX_GAUGES = 1000  # in one message
MAX_REPLIED = 700  # facts of an answer: it is within MAX_BODY even if all are as long as can be
MAX_SKETCHES = 64
MAX_BODY = 1024 * 1024  # bytes
_AHEAD = 60.0  # seconds that a peer's clock may be ahead of ours

_Position = Annotated[int, msgspec.Meta(ge=0)]
_Name = Annotated[str, msgspec.Meta(max_length=200)]
# What could not stand in an exposition would make it lose the family.
_Value = Annotated[str, msgspec.Meta(max_length=200, pattern="^[^\\x00-\\x1f\\x7f-\\x9f]*$")]


class Sketch(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The registers of one slice of time of a family."""

    family: _Name
    length: int
    index: int
    registers: Annotated[bytes, msgspec.Meta(min_length=REGISTERS, max_length=REGISTERS)]


class GaugeValue(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The value of a gauge that an event has set, and the Unix time of it."""

    family: _Name
    labels: Annotated[tuple[_Value, ...], msgspec.Meta(max_length=20)]
    value: float
    at: float


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """What a peer is told at once; ``boot`` is another one after each start of the sender."""

    boot: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    facts: Annotated[list[Fact], msgspec.Meta(max_length=MAX_FACTS)] = []
    sketches: Annotated[list[Sketch], msgspec.Meta(max_length=MAX_SKETCHES)] = []
    gauges: Annotated[list[GaugeValue], msgspec.Meta(max_length=MAX_GAUGES)] = []
    ask: tuple[_Position, _Position] | None = None  # from where in the peer's log it wants to hear, before it serves


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """The answer; another ``boot`` than before means that the peer may have forgotten what it was told.

    Who has asked gets ``facts``, and where they end; with ``more`` there are others.
    """

    boot: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    facts: Annotated[list[Fact], msgspec.Meta(max_length=MAX_FACTS)] = []
    end: tuple[_Position, _Position] = (0, 0)
    more: bool = False


def reply(boot: str, log: ReplicationLog, ask: tuple[int, int] | None) -> Reply:
    """Answer a message, with what it asks for."""
    if ask is None:
        return Reply(boot=boot)
    facts, servers = log.servers.since(ask[0], MAX_REPLIED, log.durable)
    others, browsers = log.browsers.since(ask[1], MAX_REPLIED - len(facts))
    more = servers < log.durable or browsers < log.browsers.end
    return Reply(boot=boot, facts=facts + others, end=(servers, browsers), more=more)


def merge_fact(state: State, fact: Fact, now: float) -> bool:
    """Take a fact; True if it is an id that both replicas have counted."""
    if not (0 <= fact.first <= now + _AHEAD and 0 <= fact.last <= now + _AHEAD):  # nor NaN
        return False
    return state.merge(fact, now)


def merge_sketch(state: State, sketch: Sketch, now: float) -> None:
    """Unite a slice with ours."""
    distinct = state.recorder.distinct.get(sketch.family)
    if distinct is not None:
        distinct.merge(sketch.length, sketch.index, sketch.registers, now)


def merge_gauge(state: State, gauge: GaugeValue, now: float) -> None:
    """Take a gauge's value if it is newer than ours."""
    series = state.recorder.series.get(gauge.family)
    if series is None or gauge.family not in state.recorder.gauges or not math.isfinite(gauge.value):
        return
    if len(gauge.labels) == len(series.family.labels) and 0 < gauge.at <= now + _AHEAD:
        series.merge(gauge.labels, gauge.value, min(gauge.at, now))
