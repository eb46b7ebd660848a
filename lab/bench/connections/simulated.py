# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A connection to a host that is none: after a while it answers every module call with one and the same result."""

from __future__ import annotations

import time
from typing import Any

from ansible.plugins.connection import ConnectionBase

DOCUMENTATION = r"""
name: simulated
short_description: A host that is none
description: Answers each module after a while with the content of a file.
author: tfserving.fleet contributors (@tfserving)
version_added: 0.2.0
options:
  answer:
    description: The file with what a module prints.
    type: str
    required: true
    vars:
      - name: simulated_answer
  seconds:
    description: How long the host takes.
    type: float
    default: 0
    vars:
      - name: simulated_seconds
"""


class Connection(ConnectionBase):
    """Takes the whole module, as SSH with pipelining does, and runs nothing."""

    transport = "simulated"
    has_pipelining = True

    def _connect(self) -> Connection:
        self._connected = True
        return self

    def exec_command(self, cmd: str, in_data: bytes | None = None, sudoable: bool = True) -> tuple[int, bytes, bytes]:
        """Return the answer of the host."""
        super().exec_command(cmd, in_data=in_data, sudoable=sudoable)
        if in_data is None:
            raise SystemExit(f"a simulated host runs modules alone, and not {cmd!r}")
        time.sleep(self.get_option("seconds"))
        with open(self.get_option("answer"), "rb") as answer:
            return 0, answer.read(), b""

    def put_file(self, in_path: Any, out_path: Any) -> None:
        """Refuse a file: with pipelining there are none."""
        raise SystemExit("a simulated host takes no files")

    fetch_file = put_file

    def close(self) -> None:
        """Do nothing."""
