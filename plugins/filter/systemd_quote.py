# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
name: systemd_quote
short_description: Quotes one argument for an ExecStart= line of systemd
version_added: 0.1.0
author:
  - tfserving.fleet contributors (@tfserving)
description:
  - Returns a word that systemd turns back into exactly the argument given.
  - >-
    Three readers of systemd are satisfied at once: the unquoting of words (systemd.syntax(7)), specifiers such as
    C(%n) (systemd.unit(5)) and variables such as C(${NAME}) (systemd.service(5)).
  - A word that needs no quotes gets none.
notes:
  - Only for arguments of C(ExecStart=) and its kin. Variables are not expanded in C(Environment=) lines and in
    environment files, where the doubled dollar sign would stay double; see P(tfserving.fleet.environment_line#filter).
  - Not for the path of the program itself, where systemd expands no variables.
options:
  _input:
    description: The argument. It may hold any character except NUL.
    type: str
    required: true
seealso:
  - plugin: tfserving.fleet.environment_line
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Show words for a unit
  ansible.builtin.debug:
    msg: "{{ ['--port=8500', '--model_name=50% off', '--x=$HOME'] | map('tfserving.fleet.systemd_quote') }}"
  # => ['--port=8500', '"--model_name=50%% off"', '"--x=$$HOME"']
"""

RETURN = r"""
_value:
  description: The word as it is written on the line.
  type: str
"""

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.tfserving.fleet.plugins.module_utils import unit_text
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError


def systemd_quote(argument: str) -> str:
    """Quote one argument for ExecStart=; see DOCUMENTATION. Raises AnsibleFilterError."""
    try:
        return unit_text.argument(argument)
    except WishError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The filter's registration."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"systemd_quote": systemd_quote}
