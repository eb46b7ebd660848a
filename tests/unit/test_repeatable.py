# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Properties are tested with the same examples in every run, so that a failure is one of the change under test."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

# Draws numbers and words, in which constants of imported code would turn up, and machines and wishes of the planner.
PROGRAM = """
import hashlib, sys
sys.path[:] = {path}
import repeatable
repeatable.register()
repeatable.load()
for name in {imported}:
    __import__(name)
import planner_cases
from hypothesis import given, strategies as st
drawn = hashlib.sha256()
@given(st.integers(), st.text(), st.floats(), planner_cases.topologies(), planner_cases.wishes())
def draw(whole, text, real, machine, wish):
    drawn.update(repr((whole, text, real, machine, wish)).encode("utf-8", "surrogatepass"))
draw()
print(drawn.hexdigest())
"""
PLUGINS = "ansible_collections.tfserving.fleet.plugins"


def drawn(seed, *imported):
    """Return a digest of what is drawn by a Python of this hash seed, that has imported some modules."""
    program = PROGRAM.format(path=sys.path, imported=imported)
    env = {**os.environ, "PYTHONHASHSEED": str(seed)}
    command = [sys.executable, "-c", program]
    return subprocess.run(command, env=env, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, check=True).stdout


def test_neither_the_order_of_sets_nor_what_is_imported_changes_what_is_drawn():
    first = drawn(1)
    assert len(first) == 65
    assert drawn(2, f"{PLUGINS}.plugin_utils.report.page", f"{PLUGINS}.module_utils.load.worker") == first
