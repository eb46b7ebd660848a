# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
name: server_flags
short_description: Turns a mapping of flags into arguments of tensorflow_model_server
version_added: 0.1.0
author:
  - tfserving.fleet contributors (@tfserving)
description:
  - Writes each flag as C(--name=value), the only form that the server understands.
  - >-
    The server goes on after a misspelt flag and after most combinations that cannot work, with a part of the service
    missing. This filter refuses them instead, with a sentence that says what to write.
  - The flags, their types and the release each of them came with were taken from a survey of the server's source;
    C(plugins/plugin_utils/tables/server_flags.yml) lists the surveyed releases. A newer release is taken to know the
    flags of the newest one surveyed; others are refused as not surveyed, unless O(allow_unsurveyed) is set.
positional: version
options:
  _input:
    description:
      - Names of flags without dashes, and their values.
      - A flag whose value is V(null) is left out.
      - Numeric flags take numbers and switches take booleans, both without quotes; the rest takes strings.
    type: dict
    required: true
  version:
    description: The release that will read the flags, as three numbers in quotes.
    type: str
    required: true
  path:
    description: What errors call the mapping, so that they name the variable that the user wrote.
    type: str
    default: flags
  allow_unsurveyed:
    description:
      - Write flags that no surveyed release has, where O(version) is newer than all of these. The type of the value
        says how it is written; nothing else is checked.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Show a command line
  ansible.builtin.debug:
    msg: "{{ flags | tfserving.fleet.server_flags('2.19.1') }}"
  vars:
    flags:
      port: 8500
      rest_api_port: 8501
      model_config_file: /etc/tfserving/ranker/models.config
      enable_batching: true
  # => ["--port=8500", "--rest_api_port=8501", "--enable_batching=true",
  #     "--model_config_file=/etc/tfserving/ranker/models.config"]

- name: Name the user's own variable in errors
  ansible.builtin.debug:
    msg: "{{ wish.flags | tfserving.fleet.server_flags(tfserving_version, path='tfserving_instances[0].flags') }}"
"""

RETURN = r"""
_value:
  description: One argument for each flag that is set, in the server's own order, whatever the order of the input.
  type: list
  elements: str
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.server.flags import arguments


def server_flags(
    flags: Mapping[str, Any], version: str, path: str = "flags", allow_unsurveyed: bool = False
) -> list[str]:
    """Return ``flags`` as arguments of the server; see DOCUMENTATION. Raises AnsibleFilterError."""
    try:
        return arguments(flags, version, path, allow_unsurveyed=allow_unsurveyed)
    except WishError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The filter's registration."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"server_flags": server_flags}
