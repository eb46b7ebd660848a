# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A process is run with jemalloc as servers would be, and what the library says decides."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.tfserving.fleet.plugins.action.jemalloc_trial import ActionModule
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError

LIBRARY = "/usr/lib/x86_64-linux-gnu/libjemalloc.so.2"
CONFIRMED = '<jemalloc>: malloc_conf #1 (string): ""\n<jemalloc>: -- Set conf value: dirty_decay_ms:3000\n'


class Action(ActionModule):
    """The action, with what the command returns."""

    def __init__(self, returned: dict[str, Any]) -> None:
        self._task = SimpleNamespace(args={})
        self.returned, self.calls = returned, []

    def options(self):
        return {"environment": {"LD_PRELOAD": LIBRARY, "MALLOC_CONF": "dirty_decay_ms:3000"}}

    def call(self, module, arguments, task_vars):
        self.calls.append((module, arguments))
        return self.returned


def test_options_that_the_library_confirms_are_taken():
    action = Action({"stdout": "", "stderr": CONFIRMED})
    assert action.perform({}) == {"missing": False}
    words = [f"LD_PRELOAD={LIBRARY}", "MALLOC_CONF=confirm_conf:true,dirty_decay_ms:3000"]
    given = {"argv": ["/usr/bin/env", *words, "/bin/true"], "removes": LIBRARY}
    assert action.calls == [("ansible.legacy.command", given)]


def test_without_the_library_nothing_is_run_or_refused():
    assert Action({"stdout": f"skipped, since {LIBRARY} does not exist", "stderr": ""}).perform({}) == {"missing": True}


def test_what_the_library_does_not_confirm_is_refused_with_its_words():
    with pytest.raises(WishError) as refused:
        Action({"stdout": "", "stderr": ""}).perform({})
    assert str(refused.value).startswith('tfserving_allocator_conf: the library does not take "dirty_decay_ms:3000" (')
    assert str(refused.value).endswith("); correct the option or leave it out")


def test_a_command_that_fails_is_told_as_it_is():
    assert Action({"failed": True, "msg": "no such host"}).perform({}) == {"failed": True, "msg": "no such host"}
