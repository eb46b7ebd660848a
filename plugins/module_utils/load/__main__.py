# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""``python -m tfserving_load run SPEC.json OUT/``, ``... calibrate OUT/``, and questions to the server: see USAGE."""

from __future__ import annotations

import sys
from pathlib import Path

from .calibrate import calibrate
from .keepalive import watch
from .look import look
from .network import network
from .run import REFUSED, run
from .trace import trace

USAGE = "usage: run SPEC.json OUT/ | calibrate OUT/ | look FILE.json | network FILE.json OUT/ | trace FILE.json [OUT/]"


def main(arguments: list[str]) -> int:
    """Run the program and return its exit code."""
    command, *paths = [*arguments, ""]
    paths = paths[:-1]
    if command == "run" and len(paths) == 2:
        watch(Path(paths[1]))
        return run(Path(paths[0]), Path(paths[1]))
    if command == "calibrate" and len(paths) == 1:
        watch(Path(paths[0]))
        return calibrate(Path(paths[0]))
    if command == "look" and len(paths) == 1:
        return look(Path(paths[0]))
    if command == "network" and len(paths) == 2:
        watch(Path(paths[1]))
        return network(Path(paths[0]), Path(paths[1]))
    if command == "trace" and len(paths) in (1, 2):
        return trace(Path(paths[0]), Path(paths[1]) if len(paths) == 2 else None)
    print(USAGE, file=sys.stderr)
    return REFUSED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
