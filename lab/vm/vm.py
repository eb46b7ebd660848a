#!/usr/bin/env python3
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Boot, enter and unplugs the lab's virtual machine. Needs nothing beyond the standard library; see README.md."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fleet_lab.vm.cli import main

if __name__ == "__main__":
    sys.exit(main())
