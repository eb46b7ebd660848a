# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Promtool as Debian 12 and 13 ship it."""

from __future__ import annotations

from debian_programs import Versions

_VERSIONS = Versions(__file__, "promtool", "usr/bin/promtool", "--version")
PACKAGES = _VERSIONS.packages
BOOKWORM, TRIXIE = PACKAGES
program = _VERSIONS.program
