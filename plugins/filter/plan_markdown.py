# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Filter that lays out what would change on a fleet for a comment on a merge request."""

from __future__ import annotations

DOCUMENTATION = r"""
name: plan_markdown
short_description: Lay out what would change on a fleet as Markdown
version_added: 0.2.0
author:
  - tfserving.fleet contributors (@tfserving)
description:
  - Shows for every group of hosts on which the same would change the instances, what becomes of each, and the figures
    that differ from the plan in force.
  - Text that comes from inventories and hosts stands in code spans, in which nothing is markup, a link or a mention.
    The text is short enough for a comment on GitHub; what does not fit is left out, and that is said.
positional: missing
extends_documentation_fragment: tfserving.fleet.fleet_plans
seealso:
  - plugin: tfserving.fleet.plan_data
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Keep what would change for a comment
  tfserving.fleet.report:
    content: "{{ hosts | tfserving.fleet.plan_markdown }}"
    dest: plan.md
"""

RETURN = r"""
_value:
  description: The text.
  type: str
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.plugin_utils.report import groups, markdown


def plan_markdown(hosts: Mapping[str, Mapping[str, Any]], missing: Iterable[str] = ()) -> str:
    """Return what would change on ``hosts`` as Markdown; see report.groups.read for their shape."""
    return markdown.markdown(groups.read(hosts, missing))


class FilterModule:
    """The filter's registration."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"plan_markdown": plan_markdown}
