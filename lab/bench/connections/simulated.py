# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A connection to a host that is none: after a while it answers module calls as another host has, or all alike."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.connection import ConnectionBase

DOCUMENTATION = r"""
name: simulated
short_description: A host that is none
description:
  - Answers each module after a while with the content of a file.
  - With the callback C(bench_answers), each call is answered as the host answered whose answers that has kept.
author: tfserving.fleet contributors (@tfserving)
version_added: 0.2.0
options:
  answer:
    description: The file with what a module prints; not needed with C(bench_answers).
    type: str
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
    answer: Path | None = None
    """What callbacks/bench_answers.py has kept of the call that follows."""

    def _connect(self) -> Connection:
        self._connected = True
        return self

    def exec_command(self, cmd: str, in_data: bytes | None = None, sudoable: bool = True) -> tuple[int, bytes, bytes]:
        """Return the answer of the host."""
        super().exec_command(cmd, in_data=in_data, sudoable=sudoable)
        time.sleep(self.get_option("seconds"))
        if self.answer is not None:
            # What is no module is the end of a lock.
            return _played(self.answer) if in_data is not None else (0, b"", b"")
        if in_data is None:
            raise SystemExit(f"a simulated host runs modules alone, and not {cmd!r}")
        with open(self.get_option("answer"), "rb") as answer:
            return 0, answer.read(), b""

    def put_file(self, in_path: Any, out_path: Any) -> None:
        """Refuse a file: with pipelining there are none."""
        raise SystemExit("a simulated host takes no files")

    fetch_file = put_file

    def close(self) -> None:
        """Do nothing."""


def _played(answer: Path) -> tuple[int, bytes, bytes]:
    try:
        kept = json.loads(answer.read_text(encoding="utf-8"))
    except OSError:
        raise AnsibleConnectionFailure(f"the recorded host was never asked for {answer.stem}") from None
    return kept["code"], kept["output"].encode(), b""
