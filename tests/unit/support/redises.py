# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Redis as Debian ships it."""

from __future__ import annotations

from debian_programs import Versions

_VERSIONS = Versions(__file__, "Redis", "usr/bin/redis-server", "--version")
BOOKWORM, TRIXIE = _VERSIONS.packages
program = _VERSIONS.program
