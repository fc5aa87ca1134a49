"""A storm in which the network to the providers breaks in every way, while the receiver is killed now and then."""

import asyncio
import signal
from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Self

import trustme

from tests.crash import wire
from tests.crash.providers import NAMES
from tests.crash.storm import Storm
from tests.crash.wire import Wire

HTTP = ("429", "500", "503")  # answers
SMTP = ("421", "451")
TIMEOUT = 3  # seconds for one attempt; a busy machine stands still for one
PATIENCE = 25.0  # seconds until a fault should have hit: more than a circuit rests


def ways() -> tuple[tuple[str, str], ...]:
    """Give each provider and fault."""
    lines = (*wire.BEFORE, *wire.AFTER, *wire.NAMES)
    both = [(name, fault) for name in ("pagerduty", "slack") for fault in (*HTTP, *lines, *wire.TLS)]
    return (*both, *(("email", fault) for fault in (*SMTP, *lines)))


class Network(Storm):
    """``break_each`` hits every provider with every fault so often."""

    def __init__(self, folder: Path, seed: int) -> None:
        super().__init__(folder, seed)
        self.hits = Counter[tuple[str, str]]()
        self._gone, self._missed = folder / "names", folder / "names.missed"
        self._ca = trustme.CA()
        for witness in self.providers.all():
            witness.failing = 0.0

    async def __aenter__(self) -> Self:
        self._ca.cert_pem.write_to_path(str(self.folder / "ca.pem"))
        for path in (self._gone, self._missed):
            path.write_text("", "utf-8")
        await self.providers.start()
        pagerduty, slack, smtp = self.providers.all()
        ports = (pagerduty.url.rpartition(":")[2], slack.url.rpartition(":")[2], str(smtp.port))
        self.wires = {
            name: Wire(int(port), partial(self._hit, name), smtp=name == "email")
            for name, port in zip(NAMES, ports, strict=True)
        }
        for name, line in self.wires.items():
            await line.start(f"{name}.test", None if name == "email" else self._ca)
        return await super().__aenter__()

    async def __aexit__(self, *error: object) -> None:
        await super().__aexit__(*error)
        for line in self.wires.values():
            await line.stop()

    def environment(self) -> Mapping[str, str]:
        return {"SSL_CERT_FILE": str(self.folder / "ca.pem")}

    def channels(self) -> dict[str, dict[str, Any]]:
        channels = super().channels()
        ports = {name: line.port for name, line in self.wires.items()}
        channels["pagerduty"] |= {"api_url": f"https://pagerduty.test:{ports['pagerduty']}", "timeout": f"{TIMEOUT}s"}
        channels["slack"] |= {"api_url": f"https://slack.test:{ports['slack']}/api/", "timeout": f"{TIMEOUT}s"}
        channels["email"] |= {"host": "email.test", "port": ports["email"], "timeout": f"{TIMEOUT}s"}
        return channels

    def asked(self) -> dict[str, object]:
        return {"names": str(self._gone)}

    async def break_each(self, wanted: list[tuple[str, str]], kills: int) -> None:
        """Break all three lines at once, each by one fault after the other; kill the receiver so often meanwhile."""
        weather = asyncio.ensure_future(self.begin_incidents())
        lives = asyncio.ensure_future(self._lives(kills, len(wanted) / 3))
        try:
            await asyncio.gather(*(self._break(name, [f for n, f in wanted if n == name]) for name in NAMES))
            await lives
        finally:
            weather.cancel()
            lives.cancel()

    async def _lives(self, kills: int, spells: float) -> None:
        for _ in range(kills):
            await self.process.start(self.asked())
            ended = asyncio.ensure_future(self.process.ended())
            await asyncio.sleep(self.chance.uniform(0.8, 1.2) * spells / (kills + 1))
            self.book.kill("random")
            assert await ended == signal.SIGKILL, self.process.log()
            await self.over()
        await self.process.start(self.asked())

    async def _break(self, name: str, faults: list[str]) -> None:
        self.chance.shuffle(faults)
        for fault in faults:
            before = self.hits[name, fault]
            self._arm(name, fault)
            for _ in range(int(PATIENCE / 0.05)):
                await asyncio.sleep(0.05)
                if self._has_hit(name, fault, before):
                    break
            self._mend(name)
            await asyncio.sleep(self.chance.random() * 0.3)

    def _arm(self, name: str, fault: str) -> None:
        if fault in (*HTTP, *SMTP):
            self.providers.of(name).refuse(int(fault))
        elif fault in wire.NAMES:
            self._gone.write_text(f"{self._gone.read_text('utf-8')} {name}.test", "utf-8")
            self.wires[name].cut()
        else:
            self.wires[name].fault = fault
            if fault in (*wire.TLS, "refused"):
                self.wires[name].cut()

    def _has_hit(self, name: str, fault: str, before: int) -> bool:
        """Say whether it has; a line says so itself."""
        refused = fault in (*HTTP, *SMTP) and not self.providers.of(name).refuses
        missed = self._missed.read_text("utf-8").count(f"{name}.test") if fault in wire.NAMES else 0
        if refused or missed > self.hits[name, fault]:
            self._hit(name, fault)
        return self.hits[name, fault] > before

    def _mend(self, name: str) -> None:
        self.wires[name].fault = ""
        self._gone.write_text(self._gone.read_text("utf-8").replace(f"{name}.test", ""), "utf-8")

    def _hit(self, name: str, fault: str) -> None:
        self.hits[name, fault] += 1
        self.book.write(type="fault", channel=name, kind=fault, lost=fault in (*wire.AFTER, wire.GAVE_UP))


class FallOver(Storm):
    """``fall_over``: whoever is on call cannot be reached by any way, for longer than that is tried."""

    def settings(self) -> dict[str, Any]:
        config = super().settings()
        config["retry"] |= {"elsewhere_after": "1s", "give_up_after": "5s"}
        return config

    async def fall_over(self) -> None:
        """Let five incidents begin."""
        self.providers.pagerduty.failing = 1.0
        self.providers.smtp.unknown.add("linh@example.com")
        await self.process.start({})
        await self.five()
