# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests of what makes a host a changed one."""

from __future__ import annotations

from conducted_host import host  # noqa: F401 - a fixture
