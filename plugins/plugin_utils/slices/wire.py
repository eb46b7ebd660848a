# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Messages between slices and their runner: a line of JSON each, on a UNIX socket in a folder of the user's own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

# A message names at most the hosts of a fleet: 10,000 names of the longest legal kind.
LONGEST = 4 << 20


def packed(message: Mapping[str, Any]) -> bytes:
    """Return a message as its line."""
    return json.dumps(message).encode() + b"\n"


class Lines:
    """The messages of one connection, as they come in."""

    def __init__(self) -> None:
        self._rest = b""

    def take(self, data: bytes) -> list[dict[str, Any]]:
        """Return the messages that are complete now. Raises ValueError for what is none."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if max(map(len, (self._rest, *lines))) > LONGEST:
            raise ValueError("a message is too long")
        return [_message(line) for line in lines]


def _message(line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except RecursionError as error:
        raise ValueError("a message is nested too deeply") from error
    if not isinstance(found, dict):
        raise ValueError("a message is no object")
    return found
