# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Tells the runner of a sliced run how far this slice is, and ends the slice when the runner is gone."""

from __future__ import annotations

DOCUMENTATION = r"""
name: slice_events
type: notification
short_description: Report the progress of a slice to its runner
version_added: 0.2.0
author:
  - tfserving.fleet contributors (@tfserving)
description:
  - C(bin/tfserving-fleet) turns this on in the processes of C(ansible-playbook) that it starts. It tells the stages,
    the failures and the final counts, and interrupts its process when the runner has ended, however that ended.
  - Does nothing anywhere else.
requirements:
  - Turned on by C(bin/tfserving-fleet) alone.
"""

EXAMPLES = r"""
tfserving-fleet: |
  bin/tfserving-fleet site.yml --slices 4
"""

import contextlib
import os
import threading
from typing import Any

from ansible.plugins.callback import CallbackBase
from ansible_collections.tfserving.fleet.plugins.plugin_utils.progress import lines, stages
from ansible_collections.tfserving.fleet.plugins.plugin_utils.slices import lifeline, member, wire

HERE = "localhost"
# Where the runner ends a slice, it knows why, and the host has not failed.
ENDS = "tfserving.fleet.fleet_turn"


class CallbackModule(CallbackBase):
    """A line of JSON for each stage, each failure, and the end."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "tfserving.fleet.slice_events"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        me = member.member(os.getpid())
        self.disabled = me is None
        self._course = stages.Course({})
        self._hosts = ""
        self._ended: set[str] = set()
        if me:
            self._to = me.connect()
            threading.Thread(target=lifeline.follow, args=(me.lifeline, os.getpid()), daemon=True).start()

    def v2_playbook_on_start(self, playbook: Any) -> None:
        """Learn which stages there are."""
        self._course = stages.Course({play._uuid: stages.described(play) for play in playbook.get_plays()})

    def v2_playbook_on_play_start(self, play: Any) -> None:
        """Begin a play, or its next batch of hosts."""
        self._course.begin(play._uuid)
        known = play.get_variable_manager().get_vars(play=play)
        batch, every = (
            [host for host in known.get(name, []) if host != HERE]
            for name in ("ansible_play_batch", "ansible_play_hosts_all")
        )
        self._hosts = lines.batch(batch, every.index(batch[0]) if batch else 0, len(every))

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        """Tell of a stage when its first task begins."""
        stage = self._course.enter(stages.role_of(task))
        if stage:
            place = {"number": stage.number, "total": stage.total, "title": stage.title}
            self._tell({"event": "stage", **place, "hosts": self._hosts})

    def v2_playbook_on_handler_task_start(self, task: Any) -> None:
        """Tell of a stage that a handler begins."""
        self.v2_playbook_on_task_start(task, False)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """Tell of a failure, unless it is one that counts for nothing or comes from the runner itself."""
        if result.task.action == ENDS:
            self._ended.add(result.host.get_name())
        elif not ignore_errors:
            self._fatal(result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """Tell of a host that cannot be reached, where that counts."""
        if not result.task.ignore_unreachable:
            self._fatal(result)

    def _fatal(self, result: Any) -> None:
        message = str(result.result.get("msg") or "a task has failed")
        task = result.task.get_name().strip()
        self._tell({"event": "fatal", "host": result.host.get_name(), "task": task, "message": message[:4000]})

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """Tell what has become of each host."""
        hosts = {host: stats.summarize(host) for host in sorted(stats.processed)}
        for host in self._ended & hosts.keys():
            hosts[host]["failures"] -= 1
        self._tell({"event": "stats", "hosts": hosts})

    def _tell(self, event: dict[str, Any]) -> None:
        # Without a runner the slice ends; see lifeline.py.
        with contextlib.suppress(OSError):
            self._to.sendall(wire.packed(event))
