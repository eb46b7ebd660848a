# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The workers of a run take turns."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest
from ansible_collections.tfserving.fleet.plugins.plugin_utils.turn import turn


def is_free(lock: Path) -> bool:
    """Return whether another worker would have its turn at once."""
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def test_a_turn_ends_with_its_work_however_that_ends(tmp_path):
    lock = tmp_path / "lock"
    with turn(str(lock)):
        assert not is_free(lock)
    assert is_free(lock)
    with pytest.raises(ValueError, match="broken"), turn(str(lock)):
        raise ValueError("broken")
    assert is_free(lock)
