# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""tfserving-fleet with a playbook of a test in place of site.yml: python sliced_run.py PLAYBOOK ARGUMENTS.

The playbook stands for what takes turns; it is told so by the first argument, a path.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ansible.plugins.loader import init_plugin_loader
from repository import REPOSITORY

COLLECTIONS = REPOSITORY / "collections"


def main() -> int:
    """Run the command line as the program does."""
    init_plugin_loader([str(COLLECTIONS)])
    from ansible_collections.tfserving.fleet.plugins.plugin_utils.slices import command
    from ansible_collections.tfserving.fleet.plugins.plugin_utils.slices import main as runner

    playbook = str(Path(sys.argv[1]).resolve())
    command.playbooks = lambda: {"site": [playbook]}
    return runner.main(sys.argv[1:], COLLECTIONS)


if __name__ == "__main__":
    sys.exit(main())
