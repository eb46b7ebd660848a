# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Filter that finds entries of a host's apt which do not go together with the repository that a role adds."""

from __future__ import annotations

DOCUMENTATION = r"""
name: apt_refusal
short_description: Find entries of apt that conflict with the repository of a role
version_added: 0.2.0
author:
  - tfserving.fleet contributors (@tfserving)
description:
  - Where two entries of one repository name different keys, every command of apt fails. The addresses may be spelt
    differently.
positional: uri, suites, signed_by, own
options:
  _input:
    description: The host's entries, as RV(tfserving.fleet.host_topology#module:apt_sources) has them.
    type: list
    elements: dict
    required: true
  uri:
    description: The repository's address.
    type: str
    required: true
  suites:
    description: Its suites.
    type: list
    elements: str
    required: true
  signed_by:
    description: The keyring that the role names.
    type: str
    required: true
  own:
    description: The file that the role keeps its entry in.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Refuse another entry of the same repository
  ansible.builtin.assert:
    that: refusal == ''
    fail_msg: "{{ refusal }}"
  vars:
    key: /etc/apt/keyrings/app.gpg
    own: /etc/apt/sources.list.d/app.sources
    refusal: "{{ found.apt_sources | tfserving.fleet.apt_refusal('https://apt.example.com/', ['stable'], key, own) }}"
"""

RETURN = r"""
_value:
  description: A sentence for each such entry, with its file and line, one a line; empty where there is none.
  type: str
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.host import apt_sources


class FilterModule:
    """The filter's registration."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"apt_refusal": apt_sources.refusal}
