# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Attributes of the actions that run on the controller alone and change nothing on hosts."""

from __future__ import annotations


class ModuleDocFragment:
    """No part on the host, and nothing that check mode would have to leave out; with ``FILES``, they write some."""

    DOCUMENTATION = r"""
attributes:
  action:
    support: full
    description: An action plugin without a part on the host.
  check_mode:
    support: full
    description: Changes nothing at any time.
"""

    FILES = DOCUMENTATION.replace(
        "Changes nothing at any time.", "Changes nothing on any host; the files are written in check mode too."
    )
