#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Documentation of the apt_restore action, which runs on the controller and calls modules on the host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: apt_restore
short_description: Restore apt's files after a failed installation, and fail with its reason
version_added: 0.2.0
description:
  - For the C(rescue) of a block that changes apt's sources, preferences and keyrings by
    M(tfserving.fleet.template_tree), with O(tfserving.fleet.template_tree#module:until_proven), and then installs from
    them. A broken repository would otherwise break every apt command of the host.
  - Puts these files back as they last worked, has apt read its index again, and always fails.
options:
  tree:
    description: The name of the tree of files.
    type: str
    required: true
  failed:
    description: The result of the task that failed, C(ansible_failed_result).
    type: dict
    required: true
attributes:
  action:
    support: full
    description: An action plugin that calls M(tfserving.fleet.template_tree) and M(ansible.builtin.apt).
  check_mode:
    support: full
    description: Fails with the reason, and changes nothing.
  diff_mode:
    support: none
    description: A task that fails shows no difference.
seealso:
  - module: tfserving.fleet.template_tree
author:
  - tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Install from the repository or restore apt
  block:
    - name: Configure the repository
      tfserving.fleet.template_tree:
        name: my-apt
        until_proven: true

    - name: Install the package
      ansible.builtin.apt:
        name: my-package
        update_cache: true
  rescue:
    - name: Restore apt and report the failed installation
      tfserving.fleet.apt_restore:
        tree: my-apt
        failed: "{{ ansible_failed_result }}"
"""

RETURN = r"""
msg:
  description: What the failed task says, and whether apt's files are as they were.
  type: str
  returned: always
"""
