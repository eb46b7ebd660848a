# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Output of a run that people read to the end: stages, what changes, and all that goes wrong."""

from __future__ import annotations

DOCUMENTATION = r"""
name: progress
type: stdout
short_description: Show stages, changes and problems
version_added: 0.2.0
author:
  - tfserving.fleet contributors (@tfserving)
description:
  - Shows a line for each stage of a run with the time since its beginning, the number of the stage and its hosts. Below
    it are the changes, and all warnings, differences (C(--diff)), messages and failures in full. Tasks that change
    nothing are not shown. The recap is Ansible's own.
  - In a play that lists roles each role is a stage; every other play is one.
  - On a terminal a last line shows the running task, on how many hosts it has finished and since when. Without a
    terminal there are plain lines only.
  - With C(-v), or O(output=full), it is Ansible's default output.
  - A failure of C(assert), C(fail) or this collection is shown as its message alone, where that is all it consists of.
options:
  output:
    description: V(stages) for what is described here, V(full) for Ansible's default output.
    type: str
    choices: [stages, full]
    default: stages
    env:
      - name: TFSERVING_FLEET_OUTPUT
    ini:
      - section: callback_progress
        key: output
extends_documentation_fragment:
  - default_callback
  - result_format_callback
requirements:
  - Set as C(stdout_callback) in C(ansible.cfg), or by E(ANSIBLE_STDOUT_CALLBACK).
"""

EXAMPLES = r"""
ansible.cfg: |
  [defaults]
  stdout_callback = tfserving.fleet.progress
"""

import contextlib
import os
import shutil
import sys
import threading
import time
from dataclasses import dataclass, replace
from typing import Any

from ansible import constants, context
from ansible.playbook.task_include import TaskInclude
from ansible.plugins.callback.default import CallbackModule as Default
from ansible_collections.tfserving.fleet.plugins.plugin_utils.progress import lines, stages

# Where Ansible itself runs is no host of a fleet.
HERE = "localhost"
# Actions that fail with a sentence for people, and what their results hold besides it.
SENTENCES = ("ansible.builtin.assert", "ansible.builtin.fail", "assert", "fail")
OURS = "tfserving.fleet."
BESIDES = {"msg", "changed", "failed", "assertion", "evaluated_to", "exception", "invocation", "warnings"}
# The plays of this collection that have no hosts by intention ask for these.
NOBODY = ["!all"]
TROUBLES = ("warnings", "deprecations", "exception")
# What assert says where it is given no sentence: then the assertion is what matters.
NO_SENTENCE = "Assertion failed"


class LiveLine:
    """The last line of a terminal, which gives way to whatever is printed. Nothing without a terminal."""

    def __init__(self, display: Any) -> None:
        self._on = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._shown = False
        self._lock = threading.Lock()
        if self._on:
            self._give_way(display)

    def _give_way(self, display: Any) -> None:
        # Workers send what they print to a thread of this process, which knows of no callback.
        show, mine = display.display, os.getpid()

        def shown(*arguments: Any, **options: Any) -> None:
            if os.getpid() == mine:
                self.clear()
            show(*arguments, **options)

        display.display = shown

    def draw(self, stage: stages.Stage, task: str, done: int, of: int, since: str) -> None:
        """Show the line anew."""
        if self._on:
            width = shutil.get_terminal_size().columns - 1
            self._write("\r\x1b[K" + lines.live_line(stage, task, done, of, since, width), True)

    def clear(self) -> None:
        """Take it away."""
        if self._shown:
            self._write("\r\x1b[K", False)

    def _write(self, text: str, shown: bool) -> None:
        with self._lock, contextlib.suppress(OSError):
            sys.stdout.write(text)
            sys.stdout.flush()
            self._shown = shown


@dataclass(frozen=True)
class Running:
    """The task that runs."""

    task: str
    name: str
    done: int
    since: str = ""


class CallbackModule(Default):
    """Ansible's default output, silent where nothing happens."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "tfserving.fleet.progress"

    def __init__(self) -> None:
        super().__init__()
        self._began = time.monotonic()
        self._line: LiveLine | None = None
        self._course = stages.Course({})
        self._batch: list[str] = []
        self._hosts = ""
        self._met: dict[str, int] = {}
        self._running = Running("", "", 0)
        self._changed: dict[str, tuple[str, list[str]]] = {}

    @property
    def _full(self) -> bool:
        return bool(self._display.verbosity > 0 or self.get_option("output") == "full")

    # What runs

    def v2_playbook_on_start(self, playbook: Any) -> None:
        """Learn which stages there are."""
        super().v2_playbook_on_start(playbook)
        if self._full:
            return
        self._line = self._line or LiveLine(self._display)
        self._course = stages.Course({play._uuid: stages.described(play) for play in playbook.get_plays()})
        check = "check mode, " if context.CLIARGS.get("check") else ""
        self._show(f"{os.path.basename(playbook._file_name)}: {check}begun at {time.strftime('%Y-%m-%d %H:%M:%S')}")

    def v2_playbook_on_play_start(self, play: Any) -> None:
        """Begin a play, or its next batch of hosts."""
        if self._full:
            super().v2_playbook_on_play_start(play)
            return
        self._show_changes()
        self._play = play
        self._course.begin(play._uuid)
        known = play.get_variable_manager().get_vars(play=play)
        self._batch = [host for host in known.get("ansible_play_batch", []) if host != HERE]
        fleet = [host for host in known.get("ansible_play_hosts_all", []) if host != HERE]
        before = self._met.get(play._uuid, 0)
        self._met[play._uuid] = before + len(self._batch)
        self._hosts = lines.batch(self._batch, before, len(fleet))

    def _task_start(self, task: Any, prefix: str | None = None) -> None:
        """Begin a task or a handler, and the stage that it opens."""
        if self._full:
            super()._task_start(task, prefix)
            return
        self._show_changes()
        # As it is now: later not all of its variables may be known.
        self._last_task_name = task.get_name().strip()
        stage = self._course.enter(stages.role_of(task))
        if stage:
            self._show(lines.stage_line(self._elapsed(), stage, self._hosts), constants.COLOR_HIGHLIGHT)
        self._running = Running(task._uuid, self._last_task_name, 0, time.strftime("%H:%M:%S"))
        self._draw()

    def v2_playbook_on_no_hosts_matched(self) -> None:
        """Say so in the line of the play's stages, and once more where the play is not for nobody on purpose."""
        if not self._full:
            self._show(lines.passed_line(self._elapsed(), *self._course.passed_over()))
        if self._full or list(self._play.hosts) != NOBODY:
            super().v2_playbook_on_no_hosts_matched()

    def v2_playbook_on_include(self, included_file: Any) -> None:
        """Say nothing of included files."""
        if self._full:
            super().v2_playbook_on_include(included_file)

    # What comes of it

    def v2_runner_on_ok(self, result: Any) -> None:
        """Note a change, and show what a task has to say."""
        if self._full:
            super().v2_runner_on_ok(result)
            return
        self._advance(result)
        if isinstance(result.task, TaskInclude):
            return
        if result.result.get("changed"):
            task = result.task
            self._changed.setdefault(task._uuid, (self._name_of(task), []))[1].append(self.host_label(result))
        if self._run_is_verbose(result) or any(result.result.get(key) for key in TROUBLES):
            self._open(result)
            self._handle_warnings_and_exception(result)
        if self._run_is_verbose(result) and not (result.task.loop and "results" in result.result):
            self._clean_results(result.result, result.task.action)
            self._display.display(f"ok: [{self.host_label(result)}] => {self._dump_results(result.result)}")

    def v2_runner_item_on_ok(self, result: Any) -> None:
        """Show what an item has to say; that it changed something the task's line says."""
        if self._full or self._run_is_verbose(result):
            super().v2_runner_item_on_ok(result)
        elif any(result.result.get(key) for key in TROUBLES):
            self._open(result)
            self._handle_warnings_and_exception(result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """Show a failure whole: a refusal is its sentence."""
        self._advance(result)
        if self._full or not _is_sentence(result):
            super().v2_runner_on_failed(result, ignore_errors)
            return
        self._open(result)
        self._handle_warnings(result.result)
        message = lines.refusal(self.host_label(result), result.result["msg"])
        to_stderr = self.get_option("display_failed_stderr")
        self._display.display(message, color=constants.COLOR_ERROR, stderr=to_stderr)
        if ignore_errors:
            self._display.display("...ignoring", color=constants.COLOR_SKIP)

    def v2_runner_on_skipped(self, result: Any) -> None:
        """Count the host, and show no more than warnings."""
        self._advance(result)
        if self._full:
            super().v2_runner_on_skipped(result)
        elif any(result.result.get(key) for key in TROUBLES):
            self._open(result)
            self._handle_warnings_and_exception(result)

    def v2_runner_retry(self, result: Any) -> None:
        """Say nothing of a condition that is awaited; the task fails aloud if it never comes."""
        if self._full:
            super().v2_runner_retry(result)

    def v2_runner_item_on_skipped(self, result: Any) -> None:
        """Say nothing of skipped items."""
        if self._full:
            super().v2_runner_item_on_skipped(result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """Show a host that cannot be reached."""
        self._advance(result)
        super().v2_runner_on_unreachable(result)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """End with Ansible's recap."""
        if not self._full:
            self._show_changes()
            self._show(f"{lines.elapsed(self._elapsed()):>6}  ended")
        super().v2_playbook_on_stats(stats)

    # How it is shown

    def _print_task_banner(self, task: Any) -> None:
        """Name a task in a line instead of a banner."""
        if self._full:
            super()._print_task_banner(task)
            return
        self._show(lines.task_line(self._elapsed(), self._name_of(task)))
        self._last_task_banner = task._uuid

    def _name_of(self, task: Any) -> str:
        return self._running.name if task._uuid == self._running.task else task.get_name().strip()

    def _open(self, result: Any) -> None:
        if self._last_task_banner != result.task._uuid:
            self._print_task_banner(result.task)

    def _advance(self, result: Any) -> None:
        if not self._full and result.task._uuid == self._running.task:
            self._running = replace(self._running, done=self._running.done + 1)
            self._draw()

    def _draw(self) -> None:
        if self._line and self._course.stage:
            run = self._running
            self._line.draw(self._course.stage, run.name, run.done, len(self._batch), run.since)

    def _show_changes(self) -> None:
        for task, hosts in self._changed.values():
            self._show(lines.changed_line(task, hosts), constants.COLOR_CHANGED)
        self._changed.clear()

    def _show(self, text: str, colour: str | None = None) -> None:
        self._display.display(text, color=colour)
        # Ansible leaves it to the system when lines come out, which in a pipeline is when the run is over.
        with contextlib.suppress(OSError):
            sys.stdout.flush()

    def _elapsed(self) -> float:
        return time.monotonic() - self._began


def _is_sentence(result: Any) -> bool:
    """Tell whether a failure is no more than a sentence."""
    told, message = result.result, result.result.get("msg")
    action = result.task.action
    if not (action in SENTENCES or action.startswith(OURS)) or (result.task.loop and "results" in told):
        return False
    shown = {key for key in told if not key.startswith("_ansible_")}
    return isinstance(message, str) and message != NO_SENTENCE and shown <= BESIDES
