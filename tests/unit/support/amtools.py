# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Amtool as Debian 12 and 13 ship it."""

from __future__ import annotations

from debian_programs import Versions

_VERSIONS = Versions(__file__, "amtool", "usr/bin/amtool", "--version")
PACKAGES = _VERSIONS.packages
BOOKWORM, TRIXIE = PACKAGES
program = _VERSIONS.program
