"""Draws PNGs in one process, one after the other, in bounded time; a process that died is followed by a new one."""

import asyncio
import base64
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import msgspec

from receiver.clients.limited_process import Worker, WorkerTimeoutError
from receiver.evidence.alert_query import Absent, AbsentError
from receiver.evidence.png_process import Job

_MODULE = "receiver.evidence.png_process"
_LARGEST = 4 << 20  # bytes of one picture in base64; ours have 60 to 200 kB
_STARTED_IN, _DRAWN_IN = 5.0, 2.0  # seconds
_WAITING = 8  # pictures that wait for their turn; one more is refused


class PngProcess:
    """``draw`` may be called by many at once. Their process takes 40 MB."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "png")
        self._worker: Worker | None = None
        self._guard, self._is_closed = threading.Lock(), False
        self._waiting = 0

    def warm_up(self) -> None:
        """Start the process in the background, so that the first picture need not wait for that."""
        self._thread.submit(self._started)

    async def draw(self, svg: str) -> bytes:
        """Give the PNG; AbsentError if that does not work."""
        if self._waiting >= _WAITING:
            raise AbsentError(Absent.BUSY)
        self._waiting += 1
        try:
            job = msgspec.json.encode(Job(svg))
            answer = await asyncio.get_running_loop().run_in_executor(self._thread, self._ask, job)
            if not answer:
                raise AbsentError(Absent.FAILED)
            return base64.b64decode(answer)
        except WorkerTimeoutError:
            raise AbsentError(Absent.TIMED_OUT) from None
        except (OSError, RuntimeError):  # the latter once it is closed
            raise AbsentError(Absent.FAILED) from None
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """End the process and the thread."""
        with self._guard:  # a process that is just being started is ended as well
            self._is_closed = True
        self._thread.shutdown(wait=False, cancel_futures=True)
        if self._worker is not None:
            self._worker.stop()

    def _ask(self, job: bytes) -> bytes:
        worker = self._started()
        return worker.ask(job, time.monotonic() + _DRAWN_IN) if worker else b""

    def _started(self) -> Worker | None:
        with self._guard:
            if self._is_closed:
                return None
            if self._worker is not None and self._worker.alive:
                return self._worker
            if self._worker is not None:
                self._worker.stop()  # it died by itself, and its pipes are still open
            worker = self._worker = Worker(_MODULE, largest=_LARGEST)
        if worker.is_ready(time.monotonic() + _STARTED_IN):
            return worker
        worker.stop()
        return None
