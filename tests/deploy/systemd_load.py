"""Runs inside the booted system: restarts both services under load, and prints what came of every request as JSON."""

import json
import subprocess
import sys
import threading
import urllib.request
from http.client import HTTPException
from itertools import count
from pathlib import Path

SECRETS = Path("/etc/heypeter/secrets")
EVENTS = ("http://127.0.0.1:3001/api/events", SECRETS / "exporter/exporter-token")
ALERTS = ("http://127.0.0.1:9095/webhook/alertmanager", SECRETS / "receiver/webhook-token")
FAILURES = (OSError, HTTPException)


def event(name: str) -> object:
    """One booking, counted once."""
    return [{"type": "class_booked", "id": name, "data": {"class_type": "private", "channel": "web"}}]


def alert(name: str) -> object:
    """A group of one alert."""
    one = {"status": "firing", "labels": {"alertname": name}, "annotations": {}, "fingerprint": name}
    one |= {"startsAt": "2026-11-26T14:00:00Z", "endsAt": "0001-01-01T00:00:00Z", "generatorURL": ""}
    labels: dict[str, object] = {"groupLabels": {}, "commonLabels": {}, "commonAnnotations": {}}
    return {"version": "4", "receiver": "receiver", "status": "firing", "groupKey": name, "alerts": [one], **labels}


class Client(threading.Thread):
    """Posts one request after the other, each on a connection of its own."""

    def __init__(self, number: int, ended: threading.Event) -> None:
        super().__init__()
        self.answered, self.failed, self.sends_events = 0, list[str](), bool(number % 2)
        self._number, self._ended = number, ended

    def run(self) -> None:
        """Until the end."""
        url, token = EVENTS if self.sends_events else ALERTS
        headers = {"Authorization": f"Bearer {token.read_text('utf-8').strip()}", "Content-Type": "application/json"}
        for turn in count():
            if self._ended.is_set():
                return
            body = (event if self.sends_events else alert)(f"a{self._number}x{turn}")
            try:
                urllib.request.urlopen(
                    urllib.request.Request(url, json.dumps(body).encode(), headers), timeout=60
                ).close()
                self.answered += 1
            except FAILURES as error:
                self.failed.append(repr(error))


def main(restarts: int) -> None:
    """Print the numbers of answered requests, and the failures."""
    ended = threading.Event()
    clients = [Client(number, ended) for number in range(4)]
    for client in clients:
        client.start()
    for _ in range(restarts):
        ended.wait(0.5)
        subprocess.run(["systemctl", "restart", "heypeter-receiver", "heypeter-exporter"], check=True)
    ended.wait(0.5)
    ended.set()
    for client in clients:
        client.join()
    events = sum(client.answered for client in clients if client.sends_events)
    alerts = sum(client.answered for client in clients if not client.sends_events)
    sys.stdout.write(
        json.dumps({"events": events, "alerts": alerts, "failed": [f for client in clients for f in client.failed]})
    )


if __name__ == "__main__":
    main(int(sys.argv[1]))
