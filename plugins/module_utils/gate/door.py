# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The gates of a host as those use them who disturb what serves: the module `gate`, and the conductor of instances.

This package stands behind `serving`, whose client it uses, so a conductor is handed a Door and imports none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..host.run import Run
from .record import Record

CONFIG = "/etc/tfserving/gate.json"


@dataclass(frozen=True)
class Left:
    """How an instance left the traffic: what was proven on the way, and what was not, each in words."""

    name: str
    proven: tuple[str, ...] = ()
    unproven: tuple[str, ...] = ()
    direct_callers: tuple[str, ...] = ()
    """Addresses that have connections to the server and never asked for its gate."""
    waited_s: float = 0.0


@dataclass(frozen=True)
class Seen:
    """The gate of one instance: ``words`` say why it is not open, ``problem`` what was waited for in vain."""

    name: str
    open: bool
    state: str
    words: str
    record: Record | None = None
    problem: str = ""
    callers: list[str] = field(default_factory=list)


class Door:
    """The gates of this host. ``run`` starts programs (ss, nft), as AnsibleModule.run_command does."""

    def __init__(self, run: Run, config: str = CONFIG) -> None:
        self.run = run
        self.config = config

    @property
    def present(self) -> bool:
        """Return whether this host has gates at all: hosts of 0.1.0, and those before their first run, have none."""
        raise NotImplementedError

    def check(self) -> None:
        """Raise RuntimeError, in one sentence, if an expected gateway does not ask for the gates: it may not see them.

        Nothing is expected where the plan knows no gateways.
        """
        raise NotImplementedError

    def leave(self, names: Sequence[str], record: Record | None, refuse: bool = True) -> list[Left]:
        """Put ``record`` in force for the instances and carry out the order of leaving, all of them side by side.

        Without a record the gates are closed for the present processes alone: their successors come back by
        themselves once they are admitted. A record of kind `run` leaves those of others in force, and leaves with them.
        Bounded by drain_timeout_s. ``refuse``: whether new connections are refused in the end, which a server that is
        about to stop needs. Raises RuntimeError, in one sentence, if the host cannot note the record.
        """
        raise NotImplementedError

    def back(self, names: Sequence[str], run: str = "", wait: bool = True, timeout_s: float = 60.0) -> list[Seen]:
        """Let proven instances back: lift the refusal, admit the present process, take away records of kind `run`.

        With ``wait`` until each is open and every gateway has seen it so, at most ``timeout_s``; what was waited for
        in vain stands in ``problem``. Records of persons and roll-outs stay, and with them the gate stays closed,
        which is no problem. Raises RuntimeError, in one sentence, if the host cannot change the records.
        """
        raise NotImplementedError

    def seen(self, names: Sequence[str] = ()) -> list[Seen]:
        """Return the gates as the companion answers for them now; of all instances without ``names``."""
        raise NotImplementedError

    def gateways(self) -> dict[str, Any]:
        """Return who asks for the gates: each gateway with its pairs of backend and server, and their ages."""
        raise NotImplementedError
