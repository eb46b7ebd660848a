# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Loads and unloads versions so that what is served becomes what is wanted, new before old.

One loop wakes ten times a second and starts at most one action each time. With no load threads the action runs in the
loop itself, so one load and all its retries hold back everything else: upstream's default, and reproduced here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from tfs_reference import log, process, states
from tfs_reference.servable import Servable
from tfs_reference.status import StatusError, not_found, of_exception

LOOP_SECONDS = 0.1  # upstream's manage_state_interval_micros
NEW, QUEUED, READY, UNLOADING, DONE = "new", "queued", "ready", "unloading", "done"
Loader = Callable[[str, int, str], Servable]


@dataclass
class Harness:
    """A version under management."""

    name: str
    version: int
    path: str
    aspired: bool = True
    phase: str = NEW
    servable: Servable | None = None
    users: int = 0
    unwanted: threading.Event = field(default_factory=threading.Event)  # ends the pauses between load attempts

    def __str__(self) -> str:
        return f"{{name: {self.name} version: {self.version}}}"


class Handle:
    """Keeps a servable loaded while a request uses it: `with manager.handle(...) as servable`."""

    def __init__(self, manager: Manager, harness: Harness) -> None:
        self._manager = manager
        self._harness = harness

    def __enter__(self) -> Servable:
        return self._harness.servable

    def __exit__(self, *_: Any) -> None:
        self._manager.release(self._harness)


class Manager:
    """Holds the versions and the loop. `retries` and `retry_seconds` as the flags give them."""

    def __init__(self, monitor: states.StateMonitor, loader: Loader, retries: int, retry_seconds: float) -> None:
        self._monitor = monitor
        self._loader = loader
        self._retries = retries
        self._retry_seconds = retry_seconds
        self._lock = threading.Condition()
        self._harnesses: dict[str, dict[int, Harness]] = {}
        self._pending: dict[str, dict[int, str]] = {}
        self._load_pool: ThreadPoolExecutor | None = None
        self._unload_pool: ThreadPoolExecutor | None = None
        process.start_thread(self._loop, "AspiredVersionsManager")

    # -- requests ----------------------------------------------------------------------------------------------------

    def handle(self, name: str, version: int | None) -> Handle:
        """A handle of the version (or of the highest one that is ready); raises NOT_FOUND."""
        with self._lock:
            ready = {v: h for v, h in self._harnesses.get(name, {}).items() if h.phase == READY}
            harness = ready.get(version) if version is not None else ready[max(ready)] if ready else None
            if harness is None:
                wanted = f"Latest({name})" if version is None else f"Specific({name}, {version})"
                raise not_found(f"Servable not found for request: {wanted}")
            harness.users += 1
            return Handle(self, harness)

    def release(self, harness: Harness) -> None:
        with self._lock:
            harness.users -= 1
            if not harness.users:
                self._lock.notify_all()

    # -- wishes ------------------------------------------------------------------------------------------------------

    def aspire(self, name: str, versions: dict[int, str]) -> None:
        """Ask for exactly these versions (number -> path) of a model; the loop sees to it."""
        with self._lock:
            self._pending[name] = versions

    def use_threads(self, load: int, unload: int) -> None:
        """Set the number of load and unload threads (0: inline in the loop); waits for the former threads' work."""
        with self._lock:
            former = [pool for pool in (self._load_pool, self._unload_pool) if pool]
            self._load_pool = ThreadPoolExecutor(load, "load") if load > 0 else None
            self._unload_pool = ThreadPoolExecutor(unload, "unload") if unload > 0 else None
        for pool in former:
            pool.shutdown(wait=True)

    # -- the loop ----------------------------------------------------------------------------------------------------

    def _loop(self) -> None:
        tick = threading.Event()
        while True:
            with self._lock:
                self._forget_finished()
                self._take_pending()
                action, pool = self._next_action()
            if action and pool:
                pool.submit(action)
            elif action:
                action()
            tick.wait(LOOP_SECONDS)

    def _forget_finished(self) -> None:
        """Versions that ended stay under management while wanted, so that a failed one is not tried for ever."""
        for name, versions in list(self._harnesses.items()):
            kept = {number: harness for number, harness in versions.items() if harness.aspired or harness.phase != DONE}
            self._harnesses[name] = kept

    def _take_pending(self) -> None:
        for name, versions in list(self._pending.items()):
            managed = self._harnesses.setdefault(name, {})
            if any(number in managed and not managed[number].aspired for number in versions):
                continue  # wanted again while it is still being unloaded: wait until it is gone
            del self._pending[name]
            for number, harness in managed.items():
                if number not in versions:
                    harness.aspired = False
                    harness.unwanted.set()
            for number in sorted(versions.keys() - managed.keys()):
                managed[number] = Harness(name, number, versions[number])
                self._monitor.publish(name, number, states.START)

    def _next_action(self) -> tuple[Callable[[], None] | None, ThreadPoolExecutor | None]:
        """The most urgent action over all models: an unload, because it frees memory, before a load."""
        loads = []
        for versions in self._harnesses.values():
            unload, load = _policy(versions.values())
            if unload:
                unload.phase = UNLOADING
                return partial(self._unload, unload), self._unload_pool
            if load:
                loads.append(load)
        if not loads:
            return None, None
        chosen = loads[0]
        chosen.phase = QUEUED
        return partial(self._load, chosen), self._load_pool

    def _load(self, harness: Harness) -> None:
        self._monitor.publish(harness.name, harness.version, states.LOADING)
        log.info(f"Loading servable version {harness}")
        error = None
        for attempt in range(1 + max(0, self._retries)):
            if attempt:
                harness.unwanted.wait(max(0.0, self._retry_seconds))
                if harness.unwanted.is_set():
                    break
                log.info(f"Retrying of Loading servable: {harness} retry: {attempt}")
            error = self._try_load(harness)
            if not error:
                return
            log.error(f"Loading servable: {harness} failed: {error}")
        with self._lock:
            harness.phase = DONE
        self._monitor.publish(harness.name, harness.version, states.END, error)

    def _try_load(self, harness: Harness) -> StatusError | None:
        try:
            servable = self._loader(harness.name, harness.version, harness.path)
        except Exception as error:  # whatever a broken model raises is that model's load error, not the manager's
            status = of_exception(error)
            # A fresh one: states are kept for ever, and the traceback would keep the half-loaded session with them.
            return StatusError(status.code, status.message)
        with self._lock:
            harness.servable = servable
            harness.phase = READY
        log.info(f"Successfully loaded servable version {harness}")
        self._monitor.publish(harness.name, harness.version, states.AVAILABLE)
        return None

    def _unload(self, harness: Harness) -> None:
        self._monitor.publish(harness.name, harness.version, states.UNLOADING)
        log.info(f"Quiescing servable version {harness}")
        with self._lock:
            self._lock.wait_for(lambda: not harness.users)
            servable, harness.servable = harness.servable, None
        servable.close()
        log.info(f"Done unloading servable version {harness}")
        with self._lock:
            harness.phase = DONE
        self._monitor.publish(harness.name, harness.version, states.END)


def _policy(versions: Any) -> tuple[Harness | None, Harness | None]:
    """(version to unload, version to load) of one model, availability first: the old one goes once a new one serves."""
    wanted = [harness for harness in versions if harness.aspired]
    serving_unwanted = [harness for harness in versions if not harness.aspired and harness.phase == READY]
    if serving_unwanted and (not wanted or any(harness.phase == READY for harness in wanted)):
        return min(serving_unwanted, key=lambda harness: harness.version), None
    new = [harness for harness in wanted if harness.phase == NEW]
    return None, max(new, key=lambda harness: harness.version, default=None)
