"""Attacks three exporters behind a round-robin balancer and prints what they counted against what was sent.

Senders repeat each batch at once to another exporter until one answers. Meanwhile one exporter after the other is
killed, restarted in good order or stopped for longer than its peers wait, and strangers post to the peers' door. At the
end no batch may be missing, all must show the same users, and no counter may have gone back.
"""

import asyncio
import contextlib
import json
import random
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from prometheus_client.parser import text_string_to_metric_families

from bench.options import parser
from deploy.local.ports import free_port

ROOT = Path(__file__).resolve().parents[1]
TOKEN, SECRET = "token-of-the-senders-with-thirty-characters", "secret-of-the-peers-with-thirty-characters"
NUMBER, SENDERS, EVENTS = 3, 8, 10
STRANGERS: tuple[dict[str, str], ...] = (
    {},
    {"Authorization": "Bearer guess"},
    {"Authorization": f"Bearer {TOKEN}"},
    {"Authorization": f"Bearer {SECRET[:-1]}"},
)


class Replica:
    """One exporter as a process."""

    def __init__(self, folder: Path, name: str, port: int, peers: list[str]) -> None:
        self.port, self.url = port, f"http://127.0.0.1:{port}"
        config = yaml.safe_load((ROOT / "deploy/config/exporter.yml").read_text("utf-8"))
        config |= {
            "listen": f"127.0.0.1:{port}",
            "events": {"token": TOKEN},
            "storage": {"path": str(folder / name)},
            "first_increment_hold": "0s",
            "replicas": {"peers": peers, "secret": SECRET, "every": "2s", "timeout": "500ms"},
        }
        del config["browser"]["listen"]
        self._path, self._log = folder / f"{name}.yml", folder / f"{name}.log"
        self._path.write_text(yaml.safe_dump(config), "utf-8")
        self.process: asyncio.subprocess.Process | None = None

    async def start(self, session: aiohttp.ClientSession) -> None:
        """Start it, and wait until it is ready."""
        with self._log.open("ab") as log:
            command = (sys.executable, "-m", "exporter", f"--config.file={self._path}")
            self.process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stderr=log)
        while True:
            if self.process.returncode is not None:
                raise SystemExit(self._log.read_text("utf-8")[-2000:])
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(f"{self.url}/-/ready") as answer:
                    if answer.status == 200:
                        return
            await asyncio.sleep(0.05)

    def send(self, number: signal.Signals) -> None:
        """Send a signal if it runs."""
        if self.process is not None and self.process.returncode is None:
            self.process.send_signal(number)

    async def end(self, number: signal.Signals) -> None:
        """End it by a signal, and wait for that."""
        self.send(number)
        if self.process is not None:
            await self.process.wait()

    async def samples(self, session: aiohttp.ClientSession) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        """Read all samples, by name and labels."""
        async with session.get(f"{self.url}/metrics") as answer:
            text = await answer.text()
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }


class Attack:
    """The senders, the strangers, the scrapes, and what befalls the exporters."""

    def __init__(self, folder: Path, seed: int, fates: list[str], *, short: bool) -> None:
        ports = [free_port() for _ in range(NUMBER)]
        peers = [f"http://127.0.0.1:{port}" for port in ports]
        self.replicas = [Replica(folder, f"exporter-{n}", port, peers) for n, port in enumerate(ports)]
        self.random = random.Random(seed)  # noqa: S311  # no secret
        self.fates, self.is_short = fates, short
        self.sent = self.repeats = 0
        self.seconds: list[float] = []
        self.befell: Counter[str] = Counter()
        self.strangers: Counter[int] = Counter()
        self.went_back: list[str] = []
        self.over = False

    async def run(self, seconds: float) -> dict[str, Any]:
        """Attack for so long, and give what came of it."""
        timeout = aiohttp.ClientTimeout(total=1)
        async with aiohttp.ClientSession(timeout=timeout) as self.session:
            await asyncio.gather(*(one.start(self.session) for one in self.replicas))
            work = [
                *(asyncio.ensure_future(self._send(sender)) for sender in range(SENDERS)),
                *(asyncio.ensure_future(self._scrape(one)) for one in self.replicas),
                asyncio.ensure_future(self._intrude()),
            ]
            try:
                await self._torment(seconds)
                self.over = True
                await asyncio.gather(*work)
                return await self._judged()
            finally:
                for one in work:
                    one.cancel()
                await asyncio.gather(*(one.end(signal.SIGKILL) for one in self.replicas))

    async def _send(self, sender: int) -> None:
        """Post batches, each again to another exporter until one has answered it, as by a round-robin balancer."""
        number = 0
        while not self.over:
            batch = f"{sender}-{number}"
            users = [f"{batch}-{n}" for n in range(EVENTS // 2)] + [f"often-{n}" for n in range(EVENTS // 2)]
            events: list[dict[str, Any]] = [{"type": "user_active", "data": {"user": user}} for user in users]
            events += [{"type": "class_booked", "data": {"class_type": "group", "channel": "web"}}]
            turn = self.random.randrange(NUMBER)
            began = time.monotonic()
            while not await self._post(self.replicas[turn % NUMBER], batch, events):
                turn, self.repeats = turn + 1, self.repeats + 1
            self.seconds.append(time.monotonic() - began)
            self.sent, number = self.sent + 1, number + 1
            if self.random.random() < 0.1:  # an answer that got lost on the way
                await asyncio.sleep(1)
                self.repeats += 1
                while not await self._post(self.replicas[(turn := turn + 1) % NUMBER], batch, events):
                    pass

    async def _post(self, one: Replica, batch: str, events: list[dict[str, Any]]) -> bool:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        body = {"batch_id": batch, "events": events}
        try:
            async with self.session.post(f"{one.url}/api/events", json=body, headers=headers) as answer:
                return answer.status == 202
        except (aiohttp.ClientError, TimeoutError):
            await asyncio.sleep(0.002)
            return False

    async def _scrape(self, one: Replica) -> None:
        """Read the counters as Prometheus does: none may go back."""
        before: dict[Any, float] = {}
        while not self.over:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                now = await one.samples(self.session)
                counters = {key: n for key, n in now.items() if key[0] == "class_bookings_total"}
                self.went_back += [str(key) for key, n in counters.items() if n < before.get(key, 0)]
                before = counters
            await asyncio.sleep(0.5)

    async def _intrude(self) -> None:
        """Post what strangers would: no secret, a wrong one, the senders' token; nonsense, and far too much."""
        bodies = (b"", b"nonsense", b"\x81\xa4boot\xa1x", bytes(900_000))
        while not self.over:
            one = self.random.choice(self.replicas)
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with self.session.post(
                    f"{one.url}/api/replication",
                    data=self.random.choice(bodies),
                    headers=self.random.choice(STRANGERS),
                ) as answer:
                    self.strangers[answer.status] += 1
            await asyncio.sleep(0.02)

    async def _torment(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        await asyncio.sleep(min(1.0, seconds / 4))
        while time.monotonic() < until:
            one = self.random.choice(self.replicas)
            what = self.random.choice(self.fates)
            self.befell[what] += 1
            if what == "stop":
                one.send(signal.SIGSTOP)
                await asyncio.sleep(2)
                one.send(signal.SIGCONT)
            else:
                await one.end(signal.SIGKILL if what == "kill" else signal.SIGTERM)
                await asyncio.sleep(self.random.random())
                await one.start(self.session)
            await asyncio.sleep(self.random.random() * 2)

    async def _judged(self) -> dict[str, Any]:
        users = self.sent * (EVENTS // 2) + EVENTS // 2
        if not self.is_short:
            await asyncio.sleep(14)  # an exchange, and then the gauges of users, which are set every ten seconds
        last = [await one.samples(self.session) for one in self.replicas]
        booked = sum(n for one in last for (name, _), n in one.items() if name == "class_bookings_total")
        twice = sum(n for one in last for (name, _), n in one.items() if name == "exporter_counted_twice_total")
        shown = [one["active_users", (("window", "1d"),)] for one in last]
        return {
            "batches": self.sent,
            "repeats": self.repeats,
            "befell": dict(self.befell),
            "counted": int(booked),
            "counted twice": int(booked) - self.sent,
            "said to be, at both": int(twice),
            "counters that went back": len(self.went_back),
            "users": users,
            "shown": [int(one) for one in shown],
            "strangers, by status": {str(status): n for status, n in sorted(self.strangers.items())},
            "milliseconds, median and 99th percentile": [
                round(1000 * statistics.median(self.seconds), 1),
                round(1000 * statistics.quantiles(self.seconds, n=100)[98], 1),
            ],
        }


async def _main(seconds: float, seed: int, fates: list[str], *, short: bool) -> int:
    print(f"seed {seed}, {seconds:g} s, {' '.join(fates)}")
    with tempfile.TemporaryDirectory() as folder:
        found = await Attack(Path(folder), seed, fates, short=short).run(seconds)
    print(json.dumps(found, indent=1))
    lost = found["counted"] < found["batches"]
    wrong = not short and any(abs(one - found["users"]) > 0.07 * found["users"] for one in found["shown"])
    return int(
        lost or wrong or bool(found["counters that went back"]) or set(found["strangers, by status"]) - {"401"} != set()
    )


if __name__ == "__main__":
    known = parser(__doc__)
    known.add_argument("--seconds", type=float, default=60)
    known.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    known.add_argument("--fates", nargs="+", default=["kill", "restart", "stop"], help="of exporters")
    options = known.parse_args()
    length = 1.0 if options.short else options.seconds
    raise SystemExit(asyncio.run(_main(length, options.seed, options.fates, short=options.short)))
