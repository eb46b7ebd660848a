# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Lookup that renders a template as ansible.builtin.template does, without a copy of all variables."""

from __future__ import annotations

DOCUMENTATION = r"""
name: rendered
short_description: Render a template without a copy of all variables
version_added: 0.3.0
author:
  - tfserving.fleet contributors (@tfserving)
description:
  - Returns what the lookup P(ansible.builtin.template#lookup) returns for a template. That one copies all variables of
    the host for each call, the plan of the host included, which takes longer than to render a file.
options:
  _terms:
    description: Absolute paths of templates.
    type: list
    elements: path
    required: true
"""

EXAMPLES = r"""
- name: Tell whether a unit has changed
  ansible.builtin.debug:
    msg: "{{ lookup('tfserving.fleet.rendered', role_path ~ '/templates/unit.j2') | hash('sha256') }}"
"""

RETURN = r"""
_raw:
  description: The text of each template.
  type: list
  elements: str
"""

from collections.abc import Sequence
from typing import Any

from ansible.plugins.lookup import LookupBase
from ansible_collections.tfserving.fleet.plugins.plugin_utils.templates.rendering import Renderer


class LookupModule(LookupBase):
    """Renders as the action template_tree does."""

    def run(self, terms: Sequence[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[str]:
        """Return the texts."""
        renderer = Renderer(self._loader, self._templar, variables or {})
        return [renderer.text(path) for path in terms]
