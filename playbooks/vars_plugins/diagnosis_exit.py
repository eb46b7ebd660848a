# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Ends diagnose.yml with 2 where Ansible gives up before it begins, such as over a --limit that matches no host.

Ansible's own code would be 1, which says that something was found. It is decided before any callback is loaded; of the
folders beside a playbook this one alone is read by then, with the inventory. There are no variables in it.
"""

from __future__ import annotations

import atexit
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from ansible import constants, context
from ansible.plugins.vars import BaseVarsPlugin

DOCUMENTATION = r"""
name: diagnosis_exit
short_description: End diagnose.yml with 2 where it does not begin
version_added: 0.2.0
author:
  - tfserving.fleet contributors (@tfserving)
description:
  - Ends C(playbooks/diagnose.yml) with 2 where Ansible refuses its options. Sets no variables.
options: {}
"""

PLAYBOOK = "diagnose.yml"
FAILED = 2
# Ways to ask about a playbook without running it.
_ASKING = ("listhosts", "listtasks", "listtags", "syntax")


def is_concerned(options: Mapping[str, Any]) -> bool:
    """Tell whether these options run the playbook."""
    names = [PurePath(str(each)).name for each in options.get("args") or ()]
    return PLAYBOOK in names and not any(options.get(each) for each in _ASKING)


def end() -> None:
    """End the process as a diagnosis that failed, unless the playbook has begun: then its callback chooses the code."""
    if any(name.startswith("ansible.plugins.callback.") and name.endswith("diagnosis_exit") for name in sys.modules):
        return
    # What Ansible does at its end is not done any more.
    shutil.rmtree(constants.DEFAULT_LOCAL_TMP, ignore_errors=True)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(FAILED)


class VarsModule(BaseVarsPlugin):
    """Sets no variables."""

    # Ansible asks it for each task on each host, and would load it and read its documentation each time.
    is_stateless = True

    def get_vars(self, loader: Any, path: str, entities: Any) -> dict[str, Any]:
        """Return none."""
        super().get_vars(loader, path, entities)
        return {}


if is_concerned(context.CLIARGS):
    atexit.register(end)
