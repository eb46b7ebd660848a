# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What holds where a user sets nothing, for Python. The roles' argument specs say the same in YAML; a test compares."""

from __future__ import annotations

VERSION = "2.19.1"
PACKAGE = "tensorflow-model-server"
RELEASES = "/opt/tfserving/releases"
MODELS = "/var/lib/tfserving/models"
# No variable changes it: the units name it.
CONFIG = "/etc/tfserving"
