# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What is known of every version ever seen: states are never forgotten, so removed models keep answering END."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from tfs_reference.status import StatusError

# Numbers of GetModelStatus.
START, LOADING, AVAILABLE, UNLOADING, END = 10, 20, 30, 40, 50


@dataclass(frozen=True)
class VersionState:
    """The last state published for a version; `sequence` grows with every publication."""

    state: int
    error: StatusError | None
    sequence: int


class StateMonitor:
    """Keeps the states and lets callers wait for them. Thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._states: dict[str, dict[int, VersionState]] = {}
        self._sequence = 0

    def publish(self, name: str, version: int, state: int, error: StatusError | None = None) -> None:
        with self._changed:
            self._sequence += 1
            self._states.setdefault(name, {})[version] = VersionState(state, error, self._sequence)
            self._changed.notify_all()

    def sequence(self) -> int:
        with self._changed:
            return self._sequence

    def versions(self, name: str) -> dict[int, VersionState]:
        """States by version, the highest version first."""
        with self._changed:
            return dict(sorted(self._states.get(name, {}).items(), reverse=True))

    def is_available(self, name: str, version: int) -> bool:
        known = self.versions(name).get(version)
        return known is not None and known.state == AVAILABLE

    def wait_until_available(self, names: list[str], since: int = 0) -> dict[tuple[str, int], StatusError]:
        """Wait, without limit, until every model has an available version or one that failed after `since`.

        Returns the failures by (name, version); empty when every model has something to serve.
        """
        failures: dict[tuple[str, int], StatusError] = {}
        with self._changed:
            for name in names:
                self._changed.wait_for(lambda name=name: self._outcome(name, since) is not None)
                version = self._outcome(name, since)
                state = self._states[name][version]
                if state.state != AVAILABLE:
                    failures[name, version] = state.error
        return failures

    def _outcome(self, name: str, since: int) -> int | None:
        """The version that decides the wait: an available one if any, else one that ended in an error."""
        failed = None
        for version, known in self._states.get(name, {}).items():
            if known.state == AVAILABLE:
                return version
            if known.state == END and known.error and known.sequence > since:
                failed = version
        return failed
