# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Filter that tells which alerts planned work causes."""

from __future__ import annotations

DOCUMENTATION = r"""
name: planned_silence
short_description: Tell which alerts planned work causes
version_added: 0.2.0
author:
  - tfserving.fleet contributors (@tfserving)
description:
  - Returns the options of M(tfserving.fleet.alert_silence) for a roll-out or a drained host. Alerts of how the fleet
    serves its callers are never among them.
options:
  _input:
    description: The state of a roll-out as M(tfserving.fleet.rollout_course) returns it, or the name of a drained host.
    type: raw
    required: true
  instances:
    description: Of a roll-out, the instances that serve the model, by host.
    type: dict
    default: {}
  wish:
    description: Of a roll-out, the wish C(rollout) of the model, whose steps take time.
    type: dict
    default: {}
  steps:
    description: Of a roll-out, the number of steps that the silence has to last.
    type: int
    default: 0
  only:
    description: Of a drained host, the only instance that is drained.
    type: str
    default: ""
  until:
    description: Of a drained host, after which time the traffic comes back by itself, such as C(2h).
    type: str
    default: ""
seealso:
  - module: tfserving.fleet.alert_silence
"""

EXAMPLES = r"""
- name: Silence the alerts of the drain
  tfserving.fleet.alert_silence: "{{ inventory_hostname | tfserving.fleet.planned_silence(until='2h') }}"
  delegate_to: watch-01
"""

RETURN = r"""
_value:
  description: Options of M(tfserving.fleet.alert_silence).
  type: dict
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.monitoring import planned


def planned_silence(
    work: Any,
    instances: Mapping[str, Sequence[str]] | None = None,
    wish: Mapping[str, Any] | None = None,
    steps: int = 0,
    only: str = "",
    until: str = "",
) -> dict[str, Any]:
    """Return what a roll-out or a drained host silences."""
    try:
        if isinstance(work, Mapping):
            return planned.rollout(work, instances or {}, wish, steps)
        return planned.drain(str(work), only, until)
    except WishError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The filter's registration."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"planned_silence": planned_silence}
