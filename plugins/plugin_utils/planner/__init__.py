# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Works out how a host serves what its users wish: ``plan.host_plan`` is the way in, the other files hold its rules.

Pure functions throughout: the same topology, wishes and policy give the same plan, and nothing passed in is changed.
"""

from __future__ import annotations

from .plan import host_plan, of_wishes

__all__ = ["host_plan", "of_wishes"]
