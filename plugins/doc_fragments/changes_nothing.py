# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Attributes of what changes nothing, and so has nothing that check mode would leave out or diff mode show."""

from __future__ import annotations


class ModuleDocFragment:
    """What judges, and what reads (``READS``)."""

    DOCUMENTATION = r"""
attributes:
  check_mode:
    support: full
    description: It changes nothing.
  diff_mode:
    support: none
    description: It changes nothing.
"""

    READS = r"""
attributes:
  check_mode:
    support: full
    description: Reads in check mode as well.
  diff_mode:
    support: none
    description: There is nothing to compare.
"""
