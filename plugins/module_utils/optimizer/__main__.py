# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""``python -m optimizer REQUEST.json``: prints one result as JSON. See the package for what both hold."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path

from .request import BadRequestError, read
from .supervisor import INSIDE, carry_out

REFUSED = 2
USAGE = "usage: optimizer REQUEST.json"


def main(arguments: list[str]) -> int:
    """Run the program and return its exit code."""
    if len(arguments) == 2 and arguments[0] == INSIDE:
        return int(import_module(f"{__package__}.inside").run(Path(arguments[1])))
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print(USAGE, file=sys.stderr)
        return REFUSED
    file = Path(arguments[0]).absolute()
    try:
        request = read(file)
    except BadRequestError as error:
        print(f"the request cannot be carried out: {error}", file=sys.stderr)
        return REFUSED
    print(json.dumps(carry_out(request, file)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
