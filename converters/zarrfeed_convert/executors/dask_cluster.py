"""Can a Dask cluster run zarrfeed's tasks, and does it still respond?

Every request to the cluster has a timeout.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import dask.config
from dask.utils import parse_timedelta
from distributed import Client, Security, rpc

from zarrfeed import __version__
from zarrfeed.errors import SourceError, WorkerError
from zarrfeed.spelling import few
from zarrfeed_convert.executors import remote_task

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from distributed import Future

Answer = TypeVar("Answer")

# Dask's configuration reads this environment variable as `zarrfeed.timeout`.
TIMEOUT = "DASK_ZARRFEED__TIMEOUT"
_LOOK_EVERY_S = 2.0
_ASK_AGAIN_S = 0.1
_CLOSE_S, _LEAVE_S = 5, 0.5


class Cluster:
    """A connection to a Dask scheduler and its workers.

    Parameters
    ----------
    address
        Address of the scheduler.
    token
        Identifies the conversion.

    Attributes
    ----------
    address
        Address as given.
    client
        The :class:`distributed.Client`.

    Raises
    ------
    SourceError
        `address` is not an address, or not that of a scheduler.
    WorkerError
        Nothing responds at `address` within the timeout.
    """

    def __init__(self, address: str, token: str) -> None:
        self.address, self._token = address, token
        self._timeout = _timeout()
        self._workers: Mapping[str, Any] = {}
        self._given_up: WorkerError | None = None
        self._threads, self._next_look, self._seen = 0, 0.0, time.monotonic()
        try:
            with ThreadPoolExecutor(1) as thread:  # in Jupyter, this thread has an event loop
                found = thread.submit(asyncio.run, _kind(address, self._timeout)).result()
            if found == "Scheduler":
                self.client: Any = Client(
                    address, timeout=self._timeout, set_as_default=False, name="zarrfeed"
                )
        except ValueError as error:
            raise SourceError(
                f"scheduler: needed an address like tcp://HOST:8786, found {address!r}: {error}"
            ) from error
        except OSError as error:
            raise self._silent("no Dask scheduler answered", "is it running?") from error
        if found != "Scheduler":
            raise SourceError(f"scheduler: needed Dask's scheduler, found {address}, a {found}")

    def admit(self) -> int:
        """Wait for a worker, and check that all workers have the same version of zarrfeed.

        Returns
        -------
        int
            Bytes of memory that are free for all workers together.

        Raises
        ------
        WorkerError
            There is no worker within the timeout, or one has another version of zarrfeed.
        """
        while not self.threads():
            time.sleep(_ASK_AGAIN_S)
        workers = self.ask_workers(remote_task.version_and_memory)
        answers = {"the scheduler": self._ask(self._scheduler_version, "its zarrfeed"), **workers}
        wrong = [
            f"{who} has {said}"
            for who, answer in answers.items()
            if (said := _said(answer)) != __version__ and not isinstance(answer, OSError)
        ]  # OSError: the worker has just left, which is no problem
        if wrong:
            raise WorkerError(
                f"{self.address}: needed zarrfeed {__version__} on the whole cluster, as on this "
                f"machine, but {few(wrong, joint='; ')}; install the same version there"
            )
        about = {who: answer for who, answer in workers.items() if isinstance(answer, tuple)}
        return _free(self._workers, {who: free for who, (_, free) in about.items()})

    async def _scheduler_version(self) -> Any:
        try:
            return await self.client.run_on_scheduler(remote_task.version_and_memory)
        except ImportError as error:  # the scheduler unpickles what is sent to the workers
            return error
        except Exception:  # a scheduler may be configured not to run functions
            return __version__, 0

    def threads(self) -> int:
        """Return the number of threads of all running workers; 0 while lost ones are replaced.

        Raises
        ------
        WorkerError
            The scheduler is gone, or there has been no worker for longer than the timeout.
        """
        now = time.monotonic()
        if now < self._next_look:
            return self._threads
        identity = self._ask(partial(self.client.scheduler.identity, n_workers=-1), "its workers")
        self._workers = identity["workers"]
        able = [worker for worker in self._workers.values() if worker["status"] == "running"]
        self._threads = sum(worker["nthreads"] for worker in able)
        now = time.monotonic()
        self._next_look = now + _LOOK_EVERY_S
        if self._threads:
            self._seen = now
        elif now - self._seen > self._timeout:
            statuses = Counter(worker["status"] for worker in self._workers.values())
            found = ", ".join(f"{count} {status}" for status, count in statuses.items())
            raise self._silent(
                f"no worker was running (found {found or 'none'})",
                f"start one with: dask worker {self.address}",
            )
        return self._threads

    def ask_workers(self, function: Callable[..., Answer], *arguments: object) -> dict[str, Answer]:
        """Call a function in every worker, even in busy ones.

        Returns
        -------
        dict
            Address of the worker → return value, or the exception that was raised.
        """
        call = partial(self.client.run, function, *arguments, on_error="return")
        answers: dict[str, Answer] = self._ask(call, "the answers of its workers")
        return answers

    def stop(self, futures: Sequence[Future[Any]]) -> None:
        """Start no more tasks, cancel those that run, and wait until they have ended.

        Raises
        ------
        WorkerError
            A task has not ended within the timeout, or a worker does not say whether it has.
        """
        deadline = time.monotonic() + self._timeout
        self._ask(partial(self.client.cancel, futures), "that our tasks are cancelled")
        self.ask_workers(remote_task.begin_no_more, self._token)
        while True:
            answers = self.ask_workers(remote_task.running, self._token)
            busy = [worker for worker, count in answers.items() if count != 0]
            if not busy:
                return
            if time.monotonic() > deadline:
                raise self._silent(f"tasks did not stop on {few(busy)}", "is a sample very large?")
            time.sleep(_ASK_AGAIN_S)

    def close(self) -> None:
        """Free what the workers keep of this conversion, and disconnect from the scheduler."""
        with suppress(WorkerError):
            self.ask_workers(remote_task.forget, self._token)
        # A lost scheduler does not confirm the end, and its loss has been reported already.
        silent = self._given_up is not None or self.client.status != "running"
        log = logging.getLogger("distributed.client")
        before, log.disabled = log.disabled, silent or log.disabled
        try:
            self.client.close(timeout=_LEAVE_S if silent else _CLOSE_S)
        finally:
            log.disabled = before

    def lost(self, why: BaseException | str) -> WorkerError:
        """Return the error for a scheduler that no longer knows this conversion's tasks."""
        said = " ".join(str(why).split())
        return WorkerError(
            f"{self.address}: the Dask scheduler was lost, or has dropped our tasks ({said}); "
            "check that it is running, and look at its log"
        )

    def _ask(self, question: Callable[[], Awaitable[Answer]], what: str) -> Answer:
        if self._given_up is not None:  # one timeout is enough
            raise self._given_up
        if self.client.status != "running":
            raise self.lost(f"the connection is {self.client.status}")
        try:
            answer: Answer = self.client.sync(question, callback_timeout=self._timeout)
        except TimeoutError as error:
            who = "does it or a worker hang?"
            self._given_up = self._silent(f"the Dask scheduler did not say {what}", who)
            raise self._given_up from error
        except OSError as error:
            raise self.lost(error) from error
        return answer

    def _silent(self, what: str, advice: str) -> WorkerError:
        return WorkerError(
            f"{self.address}: {what} within {self._timeout:g} s; {advice} "
            f"({TIMEOUT}={2 * self._timeout:g}s waits longer)"
        )


async def _kind(address: str, timeout: float) -> str:
    """Ask a server for its type, with a timeout: Dask itself would wait for ever for an answer."""
    arguments = Security().get_connection_args("client")
    async with rpc(address, connection_args=arguments) as there:
        identity: Any = await asyncio.wait_for(there.identity(), timeout)
    return str(identity["type"])


def _timeout() -> float:
    found = dask.config.get("zarrfeed.timeout", default="60s")
    try:
        return float(parse_timedelta(found))
    except (TypeError, ValueError, KeyError) as error:
        raise SourceError(f"{TIMEOUT}: needed a time like 60s, found {found!r}") from error


def _said(answer: object) -> str:
    """Return the version in an answer, or the reason why there is none."""
    return answer[0] if isinstance(answer, tuple) else f"none that works: {answer!r}"


def _free(workers: Mapping[str, Any], available: Mapping[str, int]) -> int:
    """Sum the bytes that workers may still use, within their limits and those of their machines."""
    rooms: defaultdict[str, int] = defaultdict(int)
    machines: dict[str, int] = {}
    for address, free in available.items():
        worker = workers.get(address)
        if worker is not None:
            limit = worker["memory_limit"]
            left = max(0, limit - worker["metrics"]["memory"]) if limit else free
            rooms[worker["host"]] += left
            machines[worker["host"]] = free
    return sum(min(room, machines[host]) for host, room in rooms.items())
