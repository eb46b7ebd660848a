# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The planner, which turns a host's topology and its users' wishes into a plan; ``plan.host_plan`` is the entry point.

Pure functions throughout: the same topology, wishes and policy give the same plan, and arguments are never modified.
"""

from __future__ import annotations

from .plan import host_plan, of_wishes

__all__ = ["host_plan", "of_wishes"]
