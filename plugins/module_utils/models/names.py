# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a model may be called."""

from __future__ import annotations

import re

# It becomes the name of a directory below the model root, where a slash would be a path, and callers write it into REST
# paths. The server takes any name there, but "/" and ":" only as "%2F" and "%3A", which few clients know.
MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
