"""How the components of the stack work: watch, queue keys, reconcile; level-triggered."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Sequence
from typing import Any, Generic, TypeVar

from clusters.reference.apiserver.resources import ResourceType
from clusters.reference.apiserver.store import Change, ConflictError, NotFoundError, Store
from clusters.reference.machine import NodeError

logger = logging.getLogger(__name__)

FIRST_RETRY = 0.05
LAST_RETRY = 5.0


class Health:
    """What is wrong with the components, for whoever asks whether the cluster is alive."""

    def __init__(self) -> None:
        self._problems: dict[str, str] = {}
        self._reported = asyncio.Event()

    async def wait_problem(self) -> dict[str, str]:
        """Returns `problems` as soon as a component has reported one."""
        await self._reported.wait()
        return self.problems

    @property
    def problems(self) -> dict[str, str]:
        """One line by component; empty when all is well."""
        return dict(self._problems)

    def report(self, component: str, error: BaseException) -> None:
        """Remembers and logs what happened to a component."""
        self._problems[component] = f"{component}: {type(error).__name__}: {error}"
        self._reported.set()
        logger.error("%s", self._problems[component], exc_info=error)

    def recovered(self, component: str) -> None:
        """The component works again."""
        self._problems.pop(component, None)
        if not self._problems:
            self._reported.clear()


class Tasks:
    """Background tasks of one component; a crash is reported, stopping ends them all."""

    def __init__(self, health: Health) -> None:
        self._health = health
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Runs work in the background."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    async def stop(self) -> None:
        """Cancels what still runs and waits for it."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._health.report(task.get_name(), error)


Key = TypeVar("Key", bound=Hashable)


class WorkQueue(Generic[Key]):
    """Reconciles keys: each by one task at a time, again when it was added meanwhile.

    A reconcile that fails is tried again, later and later. A refusal of the node or a
    conflict is expected to pass; anything else is reported as well.
    """

    def __init__(
        self, name: str, reconcile: Callable[[Key], Awaitable[None]], health: Health
    ) -> None:
        self._name = name
        self._reconcile = reconcile
        self._health = health
        self._tasks = Tasks(health)
        self._wanted: set[Key] = set()
        self._running: set[Key] = set()

    def add(self, key: Key) -> None:
        """Asks for a reconcile of the key."""
        self._wanted.add(key)
        if key not in self._running:
            self._running.add(key)
            self._tasks.start(f"{self._name} {key}", self._work(key))

    async def stop(self) -> None:
        """Abandons what is in progress."""
        await self._tasks.stop()

    async def _work(self, key: Key) -> None:
        delay = FIRST_RETRY
        component = f"{self._name} {key}"
        try:
            while key in self._wanted:
                self._wanted.discard(key)
                try:
                    await self._reconcile(key)
                except (NodeError, ConflictError, NotFoundError) as error:
                    logger.warning("%s will be tried again: %s", component, error)
                except Exception as error:
                    self._health.report(component, error)
                else:
                    delay = FIRST_RETRY
                    self._health.recovered(component)
                    continue
                self._wanted.add(key)
                await asyncio.sleep(delay)
                delay = min(delay * 2, LAST_RETRY)
        finally:
            self._running.discard(key)


async def follow(
    store: Store, types: Sequence[ResourceType], handle: Callable[[Change], None]
) -> None:
    """Hands every object, and then every change, to `handle`, for ever."""
    async for change in store.watch(types):
        handle(change)
