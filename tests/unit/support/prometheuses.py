# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The server of Prometheus as Debian 12 and 13, and Ubuntu 22.04 and 24.04 ship it."""

from __future__ import annotations

from debian_programs import Versions

_VERSIONS = Versions(__file__, "Prometheus", "usr/bin/prometheus", "--version")
PACKAGES = _VERSIONS.packages
BOOKWORM, TRIXIE, JAMMY, NOBLE = PACKAGES
program = _VERSIONS.program
