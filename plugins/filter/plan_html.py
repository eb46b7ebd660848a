# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Filter that lays out the plans of a fleet as a page."""

from __future__ import annotations

DOCUMENTATION = r"""
name: plan_html
short_description: Lay out the plans of a fleet as a page
version_added: 0.1.0
author:
  - tfserving.fleet contributors (@tfserving)
description:
  - Shows what P(tfserving.fleet.plan_text#filter) shows, with a picture of each kind of machine.
  - The page is complete in itself. It loads nothing, holds no script, and follows the reader's light or dark setting.
positional: missing
extends_documentation_fragment: tfserving.fleet.fleet_plans
seealso:
  - plugin: tfserving.fleet.plan_text
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Keep the plans as a page
  tfserving.fleet.report:
    text: The plans of the fleet
    content: "{{ hosts | tfserving.fleet.plan_html }}"
    dest: plan.html
"""

RETURN = r"""
_value:
  description: The page as HTML.
  type: str
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.plugin_utils.report import groups, page


def plan_html(hosts: Mapping[str, Mapping[str, Any]], missing: Iterable[str] = ()) -> str:
    """Return the plans of ``hosts`` as HTML; see plan_report.groups.read for their shape."""
    return page.page(groups.read(hosts, missing))


class FilterModule:
    """The filter's registration."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"plan_html": plan_html}
