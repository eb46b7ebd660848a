#!/usr/bin/env python3
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Build, run and remove the lab: one machine that looks like a small TensorFlow Serving fleet.

Needs nothing beyond the standard library, because it is what installs everything else. See lab/README.md.
"""

from __future__ import annotations

import sys

from fleet_lab.cli import main

if __name__ == "__main__":
    sys.exit(main())
