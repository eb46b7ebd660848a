# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Ends diagnose.yml with the code of its diagnosis, which no task can do.

Ansible loads the callbacks in the folder callback_plugins beside a playbook by itself. Tasks run in processes of their
own, and a playbook's code is that of its failures; only what runs in the main process after the recap can choose
another. Of all other playbooks of the folder it leaves the code alone.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: diagnosis_exit
type: aggregate
short_description: End diagnose.yml with 0, 1 or 2
version_added: 0.2.0
author:
  - tfserving.fleet contributors (@tfserving)
description:
  - Ends C(playbooks/diagnose.yml) with 0 where nothing was found, 1 with findings, and 2 where the diagnosis failed.
"""

PLAYBOOK = "diagnose.yml"
FAILED = 2


class CallbackModule(CallbackBase):
    """Takes the code from the result of the action diagnosis."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "diagnosis_exit"

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._concerned = False
        self._code: int | None = None

    def v2_playbook_on_start(self, playbook: Any) -> None:
        """Look which playbook it is; from its own folder it is run by its name alone."""
        self._concerned = PurePath(str(playbook._file_name)).name == PLAYBOOK

    def v2_runner_on_ok(self, result: Any) -> None:
        """Keep the code of the diagnosis."""
        code = result._result.get("diagnosis_exit")
        if self._concerned and code in (0, 1, 2):
            self._code = code

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """End the process; a diagnosis that did not come about has failed, whatever the reason."""
        if not self._concerned:
            return
        code = FAILED if self._code is None else self._code
        # Without failures and findings the code is 0 by itself; with a host left out, Ansible's would be 2 or 4.
        if code or stats.failures or stats.dark:
            raise SystemExit(code)
