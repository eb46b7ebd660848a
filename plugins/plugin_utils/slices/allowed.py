# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Which playbooks may be sliced, and by whom.

A job slice of AWX is a run of its own with a pared-down inventory: it knows neither the restarts nor the failures of
the others. The runner of this collection knows both, so it may slice more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError

# What looks at each host by itself and changes none, with what a slice shows.
ANYHOW = {
    "plan": "the plans of its own hosts",
    "status": "the state of its own hosts",
    "diagnose": "the causes on its own hosts",
}
# What the runner can join: the reports of those that read, the turns of those that restart.
READING = ("plan", "status")
SERVING = ("site", "serve")
RUNNER = (*READING, *SERVING)

COMMAND = "tfserving-fleet"
PAGE = "docs/large-fleets.md"

# AWX passes its variables under both names (JOB_VARIABLE_PREFIXES in awx/main/constants.py).
_PREFIXES = ("awx", "tower")


def refuse_job_slice(playbook: str, shown: str, variables: Mapping[str, Any]) -> None:
    """Refuse a job slice of AWX where the playbook must not be sliced.

    :param playbook: its name, empty for one that is in no table.
    :param shown: what the user calls it.
    """
    mark = job_slice(variables)
    if mark and playbook not in ANYHOW:
        problem = f"must not be sliced, as no slice knows of the restarts and failures of the others, and {mark}"
        remedy = f"set the slices of the job template to 1, or run it by {COMMAND}; {PAGE} names what may be sliced"
        raise WishError(shown, problem, remedy)


def job_slice(variables: Mapping[str, Any]) -> str:
    """Return by which variables this is a job slice of AWX; empty if it is none.

    AWX 24.6.1 tells a playbook neither the number of its slice nor the count (``awx_meta_vars`` in its models). But a
    sliced job is a workflow job with the name of its own template, which is passed. A count that is passed counts.
    """
    for prefix in _PREFIXES:
        count = str(variables.get(f"{prefix}_job_slice_count") or "")
        if count.isdecimal() and int(count) > 1:
            return f"{prefix}_job_slice_count is {int(count)}"
    for prefix in _PREFIXES:
        workflow, template = (variables.get(f"{prefix}_{name}") for name in ("workflow_job_name", "job_template_name"))
        if workflow and workflow == template:
            return f"{prefix}_workflow_job_name is the name of the job template, as in a sliced job"
    return ""


def refuse_playbook(name: str, shown: str) -> None:
    """Refuse a playbook that the runner does not slice."""
    if name not in RUNNER:
        what = "is never sliced" if name else "is no playbook of tfserving.fleet"
        remedy = f"run it by ansible-playbook; {COMMAND} takes {', '.join(RUNNER[:-1])} and {RUNNER[-1]}"
        raise WishError(shown, what, remedy)


def name_of(given: str, playbooks: Mapping[str, Sequence[str]]) -> str:
    """Return the name of a playbook of the collection, empty for any other.

    :param given: what the user has written.
    :param playbooks: by name everything that means this playbook.
    """
    return next((name for name, meant in playbooks.items() if given in meant), "")
