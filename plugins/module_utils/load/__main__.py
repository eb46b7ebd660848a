# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""``python -m tfserving_load run SPEC.json OUT/`` and ``... calibrate OUT/``."""

from __future__ import annotations

import sys
from pathlib import Path

from .calibrate import calibrate
from .run import REFUSED, run

USAGE = "usage: run SPEC.json OUT/ | calibrate OUT/"


def main(arguments: list[str]) -> int:
    """Run the program and return its exit code."""
    command, *paths = [*arguments, ""]
    paths = paths[:-1]
    if command == "run" and len(paths) == 2:
        return run(Path(paths[0]), Path(paths[1]))
    if command == "calibrate" and len(paths) == 1:
        return calibrate(Path(paths[0]))
    print(USAGE, file=sys.stderr)
    return REFUSED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
