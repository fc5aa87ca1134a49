"""The launcher behind `make run` and `make demo`: starts all programs, shows notifications, stops all programs."""

import argparse
import asyncio
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from deploy.local.demo import Demo
from deploy.local.installation import ROOT, Site, SiteError, occupied, ports, prepare
from deploy.local.programs import Programs
from deploy.local.terminal import Terminal

NEXT = """
 Open the console (this link signs you in once; the next start prints another)
   {console}

 Try in another terminal:

 Send an event and see its counter
   curl -sS {exporter}/api/events -H "Authorization: Bearer $(cat {secrets}/exporter-token)" \\
     -d '{{"type": "user_registered", "data": {{"channel": "web", "plan": "trial"}}}}'
   curl -sS {exporter}/metrics | grep ^user_registrations_total

 Show who would be notified for an alert, and send a test alert through the whole chain
   .venv/bin/python -m receiver explain --config.file {config} --alert HighErrorRate
   .venv/bin/python -m receiver drill --config.file {config} --alertmanager.url {alertmanager}

 While the drill waits: list its incident, acknowledge it
   curl -sS {receiver}/api/v1/incidents -H "Authorization: Bearer $(cat {secrets}/api-token)"
   curl -sS {receiver}/api/v1/incidents/1/acknowledge -d '{{"actor": "me"}}' \\
     -H "Authorization: Bearer $(cat {secrets}/api-token)"

 Watch an outage, a page, an escalation and a resolve in two minutes
   make demo      (stop this first: it uses the same ports)

 No database, cache, web server, host or user traffic is monitored here, so alerts about them fire in
 Prometheus; they are not sent to Alertmanager (deploy/local/prometheus.yml).

 Notifications appear below. Press Ctrl-C to stop everything. Logs: {logs}
"""


async def run(terminal: Terminal, data: Path, *, demo: bool, keep: bool) -> None:
    """Run until Ctrl-C, or until the demo is over; SiteError when something fails."""
    stop = asyncio.Event()
    for signum in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)
    site = Site(data / ("demo" if demo else "run"), ports())
    with occupied(site):
        story = Demo(site, terminal) if demo else None
        if story:
            shutil.rmtree(site.data, ignore_errors=True)  # so that each demo starts with incident #1
        prepare(site)
        if story:
            story.prepare()
        programs = Programs(site)
        terminal.title("HeyPeter Monitoring" + (" — demo" if demo else ""))
        try:
            ready = programs.start(lambda name, took: terminal.ready(name, site.url(name), took))
            if not await _unless(stop, ready):
                return
            if story is None:
                _table(terminal, site)
            await programs.until(_unless(stop, story.tell(keep=keep)) if story else stop.wait())
        finally:
            terminal.say("Stopping …")
            began = time.monotonic()
            await programs.stop()
            terminal.say(f"Stopped after {time.monotonic() - began:.1f} s.")


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Do the work unless stopped; say whether it was done. Nothing is left running when this returns."""
    working, stopped = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait([working, stopped], return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            await working
        return working.done()
    finally:
        working.cancel()
        stopped.cancel()
        await asyncio.gather(working, stopped, return_exceptions=True)


def _table(terminal: Terminal, site: Site) -> None:
    rows = [
        ("Prometheus", site.url("prometheus"), "metrics, rules; alerts at /alerts"),
        ("Alertmanager", site.url("alertmanager"), "alert groups and silences"),
        ("Receiver", f"{site.url('receiver')}/metrics", "incidents, escalation, notifications"),
        ("Exporter", f"{site.url('exporter')}/metrics", "metrics made from events"),
    ]
    terminal.table(rows)
    shown = {name: site.url(name) for name in ("exporter", "receiver", "alertmanager")}
    places = {"secrets": site.shown / "secrets", "logs": site.shown / "logs", "config": site.shown / "receiver.yml"}
    terminal.text(NEXT.format(**shown, **places, console=_console(site)))


def _console(site: Site) -> str:
    """Give the link by which the receiver lets its operator in."""
    found = re.findall(r"console at (\S+)", (site.data / "logs/receiver.log").read_text("utf-8"))
    return found[-1] if found else site.url("receiver")


def main() -> int:
    """Give the exit status: 0 when stopped, 1 with a message when something failed."""
    parser = argparse.ArgumentParser(description="Run the whole product on this machine.")
    parser.add_argument("--demo", action="store_true", help="send traffic and simulate an outage")
    parser.add_argument("--keep", action="store_true", help="demo: keep running afterwards")
    parser.add_argument("--data", type=Path, default=ROOT / "data", help="where all data is kept (default: data/)")
    options = parser.parse_args()
    terminal = Terminal(sys.stdout)
    try:
        ports()  # before anything is fetched, so that a busy port is reported at once
        fetched = subprocess.run([sys.executable, "-m", "deploy.local.stack"], check=False, cwd=ROOT)
        if fetched.returncode != 0:
            return 1
        asyncio.run(run(terminal, options.data.resolve(), demo=options.demo, keep=options.keep))
    except SiteError as error:
        terminal.error(str(error))
        return 1
    except KeyboardInterrupt:  # before anything was started
        return 130
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
