"""One table of how requests end, and the three layers that count them: node:http, aiohttp and ASGI."""

import asyncio
import contextlib
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer

from exporter.client.heypeter_client import Client, Measure, Settings
from exporter.client.heypeter_client.measure import Message, Receive, Send
from tests.exporter.client.exporter_double import TOKEN, ExporterDouble, serve
from tests.exporter.client.node import command, environment

CASES: list[dict[str, Any]] = yaml.safe_load(Path("tests/exporter/client/requests.yml").read_text("utf-8"))
PATIENCE = 30.0
UPGRADE = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


@pytest.fixture
def double() -> Iterator[ExporterDouble]:
    with serve(ExporterDouble()) as double:
        yield double


@pytest.fixture
def client(double: ExporterDouble) -> Iterator[Client]:
    with Client(Settings(url=double.url, token=TOKEN, batch_delay=3600.0, close_timeout=60.0)) as client:
        yield client


def is_websocket(case: dict[str, Any]) -> bool:
    return "upgrade" in case["respond"] or case.get("websocket", False)


def check(double: ExporterDouble) -> None:
    """Each case was counted exactly once, as the table says."""
    counted = defaultdict(list)
    for event in double.counted:
        data = event["data"]
        assert 0 <= data["duration"] < PATIENCE, "seconds"
        time = {"stream": "first_byte"}.get(data.get("kind"), "duration")
        counted[data["route"]].append([data["status"], time])
    expected = {case["name"]: [case["counted"]] for case in CASES}
    assert {case["name"]: counted[f"/case/{index}"] for index, case in enumerate(CASES)} == expected


async def visit(port: int, index: int) -> None:
    """Ask for a case as its client does, and come back once its handler is done."""
    case = CASES[index]
    head = UPGRADE if is_websocket(case) else "Connection: close\r\n"
    async with asyncio.timeout(PATIENCE):
        async with asked(port, f"/case/{index}", head) as reader:
            if case.get("leave") == "before":
                await reach(port, f"/begun/{index}")
            elif case.get("leave") == "middle":
                await reader.readuntil(b"Switching Protocols" if "upgrade" in case["respond"] else b"part")
            elif is_websocket(case):
                await reader.readuntil(b"\r\n\r\n")
            else:
                await reader.read()
        await reach(port, f"/done/{index}")


@asynccontextmanager
async def asked(port: int, path: str, head: str = "Connection: close\r\n") -> AsyncIterator[asyncio.StreamReader]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{head}\r\n".encode())
        yield reader
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def reach(port: int, path: str) -> None:
    """Wait for an answer of the server under test: it comes when the handler has begun, or is done."""
    async with asked(port, path) as reader:
        assert b" 200 " in await reader.readline(), path
        await reader.read()


NODE = """
import http from "node:http";
const CASES = %s;
const HEADERS = %s;
const client = register({ ...instant, batchDelay: 3_600_000 });
const moment = () => { let reach; return { reached: new Promise((resolve) => (reach = resolve)), reach }; };
const begun = CASES.map(moment);
const done = CASES.map(moment);
const left = (stream) => new Promise((resolve) => stream.once("close", resolve));
const steps = {
  wait: (it, res) => it.left,
  part: (it, res) => void res.write("part"),
  end: (it, res) => void res.end(it.respond[0] === "end" ? "whole" : undefined),
  fail: () => { throw new Error("broken"); },
};
async function handle(it, req, res) {
  it.left = left(res);
  if (it.status) {
    const headers = { "Content-Type": it.type, ...(it.length && { "Content-Length": it.length }) };
    if (HEADERS === "set") {
      res.statusCode = it.status;
      for (const [name, text] of Object.entries(headers)) res.setHeader(name, text);
    } else if (HEADERS === "object") res.writeHead(it.status, headers);
    else res.writeHead(it.status, "Fine", Object.entries(headers).flat());
  }
  for (const step of it.respond) await steps[step](it, res);
}
const server = http.createServer(async (req, res) => {
  const [, what, index] = req.url.split("/");
  if (what === "begun") await begun[index].reached;
  if (what === "done") await done[index].reached;
  if (what === "stop") await client.close();
  if (what !== "case") return void res.end();
  begun[index].reach();
  const handler = withApiMetrics("/case/" + index, (req, res) => handle({ ...CASES[index] }, req, res));
  const closed = left(res);
  await handler(req, res).catch((error) => {
    // As frameworks do.
    if (res.headersSent) return void res.destroy(error);
    res.statusCode = 500;
    res.end();
  });
  await closed;
  done[index].reach();
});
server.on("upgrade", async (req, socket) => {
  const [, , index] = req.url.split("/");
  const it = CASES[index];
  socket.on("error", () => {}).on("end", () => socket.end()).resume();
  begun[index].reach();
  if (it.respond[0] === "end") socket.end("HTTP/1.1 403 Forbidden\\r\\nConnection: close\\r\\n\\r\\n");
  if (it.respond[0] === "upgrade") socket.write("HTTP/1.1 101 Switching Protocols\\r\\n\\r\\n");
  await left(socket);
  done[index].reach();
});
server.listen(0, "127.0.0.1", () => say(server.address().port));
process.stdin.once("end", () => process.exit()).resume();
"""


@pytest.mark.parametrize("headers", ["set", "object", "list"])  # how the application gives them to node:http
async def test_node(double: ExporterDouble, headers: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *command(NODE % (json.dumps(CASES), json.dumps(headers))),
        env=environment(double.url),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE):
            port = int(await process.stdout.readline())
        for index in range(len(CASES)):
            await visit(port, index)
        await reach(port, "/stop")
    finally:
        process.kill()
        await process.wait()
    check(double)


class Aiohttp:
    """The application of the table's cases."""

    def __init__(self) -> None:
        self.begun = [asyncio.Event() for _ in CASES]
        self.done = [asyncio.Event() for _ in CASES]

    async def reached(self, request: web.Request) -> web.Response:
        events = self.begun if request.match_info["what"] == "begun" else self.done
        await events[int(request.match_info["index"])].wait()
        return web.Response()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        index = int(request.path.rpartition("/")[2])
        self.begun[index].set()
        try:
            return await self.respond(CASES[index], request)
        finally:
            self.done[index].set()

    async def respond(self, case: dict[str, Any], request: web.Request) -> web.StreamResponse:
        headers = {"Content-Type": case["type"]} if "type" in case else {}
        response: web.StreamResponse | None = None
        for step in case["respond"]:
            if step == "wait":
                while request.transport is not None:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)  # aiohttp does not tell
            elif step == "part":
                if response is None:
                    response = web.StreamResponse(status=case["status"], headers=headers)
                    response.content_length = case.get("length")
                    await response.prepare(request)
                await response.write(b"part")
            elif step == "upgrade":
                response = web.WebSocketResponse()
                await response.prepare(request)
            elif step == "fail":
                raise ZeroDivisionError
        return response or web.Response(status=case.get("status", 200), body=b"whole", headers=headers)


async def test_aiohttp(client: Client, double: ExporterDouble) -> None:
    app = web.Application(middlewares=[Measure(client).aiohttp()])
    cases = Aiohttp()
    for index in range(len(CASES)):
        app.router.add_get(f"/case/{index}", cases.handle)
    app.router.add_get("/{what:begun|done}/{index}", cases.reached)
    async with TestServer(app) as server:
        for index in range(len(CASES)):
            await visit(server.port or 0, index)
    client.close()
    check(double)


async def asgi_app(scope: Message, receive: Receive, send: Send) -> None:
    """The application of the table's cases; it asks for no messages but in order to begin."""
    case = CASES[int(scope["path"].rpartition("/")[2])]
    kind = "websocket.http.response" if scope["type"] == "websocket" else "http.response"
    await receive()
    scope["begun"].set()
    names = {"type": "content-type", "length": "content-length"}
    headers = [(name.encode(), str(case[key]).encode()) for key, name in names.items() if key in case]
    start = {"type": f"{kind}.start", "status": case.get("status", 200), "headers": headers}
    is_started = False
    for step in case["respond"]:
        if step == "wait":
            await scope["left"].wait()
        elif step == "upgrade":
            await send({"type": "websocket.accept"})
        elif step == "fail":
            raise ZeroDivisionError
        else:
            if not is_started:
                await send(start)
            body = {"part": b"part", "end": b"" if is_started else b"whole"}[step]
            await send({"type": f"{kind}.body", "body": body, "more_body": step == "part"})
            is_started = True


class AsgiServer:
    """What a server does around one request: uvicorn's order of messages, without the network."""

    def __init__(self, index: int) -> None:
        self.case = CASES[index]
        self.left, self.begun, self.ended = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.is_leaving = False
        self.kind = "websocket" if is_websocket(self.case) else "http"
        self.scope = {
            "type": self.kind,
            "path": f"/case/{index}",
            "headers": [],
            "left": self.left,
            "begun": self.begun,
        }
        self.first = [{"type": "websocket.connect"} if self.kind == "websocket" else {"type": "http.request"}]
        if self.kind == "http":
            self.scope["method"] = "GET"

    async def receive(self) -> Message:
        if self.first:
            return self.first.pop()
        await self.ended.wait()
        if self.is_leaving:  # told to whoever asks, and only then does the application go on
            asyncio.get_running_loop().call_soon(self.left.set)
        return {"type": f"{self.kind}.disconnect"}

    async def send(self, message: Message) -> None:
        if self.is_leaving:
            return  # as uvicorn does
        if self.case.get("leave") == "middle" and (
            message.get("body") == b"part" or message["type"] == "websocket.accept"
        ):
            self.leave()
            if self.kind == "websocket":  # nobody of ours asks any more
                asyncio.get_running_loop().call_soon(self.left.set)
        elif message["type"].endswith("response.body") and not message["more_body"]:
            self.ended.set()

    def leave(self) -> None:
        self.is_leaving = True
        self.ended.set()

    @asynccontextmanager
    async def client(self) -> AsyncIterator[None]:
        async def leaving() -> None:
            await self.begun.wait()
            self.leave()

        if self.case.get("leave") == "before":
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(leaving())
                yield
        else:
            yield


async def test_asgi(client: Client, double: ExporterDouble) -> None:
    app = Measure(client).asgi(asgi_app)
    for index, case in enumerate(CASES):
        server = AsgiServer(index)
        try:
            async with asyncio.timeout(PATIENCE), server.client():
                await app(server.scope, server.receive, server.send)
        except* ZeroDivisionError:
            assert "fail" in case["respond"]
    client.close()
    check(double)
