# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The defaults that Python code needs. The roles' argument specs hold the same values in YAML; a test compares both."""

from __future__ import annotations

VERSION = "2.19.1"
PACKAGE = "tensorflow-model-server"
RELEASES = "/opt/tfserving/releases"
MODELS = "/var/lib/tfserving/models"
# Fixed: the units name it.
CONFIG = "/etc/tfserving"
