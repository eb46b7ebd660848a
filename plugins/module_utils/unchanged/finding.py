# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a check finds: what a whole run would do, and the state that it has looked at."""

from __future__ import annotations

import hashlib
import json
from typing import Any, NamedTuple


class Finding(NamedTuple):
    """``due`` says what a whole run would do, empty where nothing; ``state`` is plain data."""

    due: str
    state: Any


def digest(state: Any) -> str:
    """Return a text that differs for states that differ."""
    return hashlib.sha256(json.dumps(state, sort_keys=True, allow_nan=False).encode()).hexdigest()
