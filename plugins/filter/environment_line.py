# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
name: environment_line
short_description: Writes one line of an environment file of systemd
version_added: 0.1.0
author:
  - tfserving.fleet contributors (@tfserving)
description:
  - Returns C(NAME="value") so that C(EnvironmentFile=) gives the process exactly that value.
  - Unlike C(ExecStart=), an environment file expands neither specifiers nor variables, so percent signs stay single.
positional: value
options:
  _input:
    description: Name of the variable.
    type: str
    required: true
  value:
    description:
      - Text or number on one line.
      - Booleans are refused, because programs disagree on how to write them; put the text that is meant in quotes.
    type: raw
    required: true
seealso:
  - plugin: tfserving.fleet.systemd_quote
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Write an environment file
  ansible.builtin.copy:
    dest: /etc/tfserving/ranker/environment
    mode: "0644"
    content: |
      {% for name, value in environment | dictsort %}
      {{ name | tfserving.fleet.environment_line(value) }}
      {% endfor %}
  vars:
    environment:
      TF_FORCE_GPU_ALLOW_GROWTH: "true"
      MALLOC_CONF: background_thread:true
"""

RETURN = r"""
_value:
  description: The line, without its line break.
  type: str
"""

import re
from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError, described

# systemd unescapes just these between double quotes in an environment file, and keeps the backslash before any other
# character (SHELL_NEED_ESCAPE in its env-file parser).
ESCAPED = re.compile(r'["\\`$]')


def environment_file_line(name: str, value: object) -> str:
    """Return one line of an environment file that sets ``name`` to ``value``. Raises WishError."""
    path = f"environment.{name}"
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise WishError(path, "cannot name a variable", "use letters, digits and '_', not beginning with a digit")
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise WishError(path, f"needs a string, not {described(value)}", 'write the text in quotes, such as "true"')
    text = str(value)
    if re.search(r"[\x00-\x08\x0a-\x1f\x7f]", text):
        # systemd drops an assignment with control characters (all but the tab); a line break would end the line.
        raise WishError(path, "holds a line break or another control character", "write one line of plain text")
    escaped = ESCAPED.sub(r"\\\g<0>", text)
    return f'{name}="{escaped}"'


def environment_line(name: str, value: object) -> str:
    """Write one line of an environment file; see DOCUMENTATION. Raises AnsibleFilterError."""
    try:
        return environment_file_line(name, value)
    except WishError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The filter's registration."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"environment_line": environment_line}
