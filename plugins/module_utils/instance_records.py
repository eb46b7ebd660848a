# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What stands beside an instance's files to say what it serves, so that it can be proven without any other record.

It is one of the tree's files, and comes back with the others when a change is taken back.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.process_facts import PROC

NAME = "instance.json"
# What makes a directory an instance's: its unit does not start without it.
MODELS = "models.config"
# A description is some kilobytes, most of them probes; what is larger was not written by us.
LARGEST = 16 << 20

_PORT = re.compile(r"--(rest_api_)?port=(\d+)")


def names(root: str) -> list[str]:
    """Return the names of the instances whose files are on the host."""
    return sorted(path.parent.name for path in Path(root).glob(f"*/{MODELS}"))


def read(root: str, name: str) -> dict[str, Any] | None:
    """Return the description of an instance; None where there is none that can be read (0.1.0 wrote none)."""
    try:
        with open(os.path.join(root, name, NAME), encoding="utf-8") as file:
            found = json.loads(file.read(LARGEST))
        _check(found, name)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return found


def _check(found: Mapping[str, Any], name: str) -> None:
    instance = found["instance"]
    if instance["name"] != name or not isinstance(found["models"], list) or not isinstance(instance["ports"], dict):
        raise ValueError(name)
    int(instance["ports"]["rest"])


def derived(name: str, command: str) -> dict[str, Any] | None:
    """Make a description from the command line of the health unit, which names the port and the models."""
    port, models = re.search(r"--rest-port=(\d+)", command), re.search(r"--models=([^\s;\"]+)", command)
    if not port:
        return None
    listed = models.group(1).split(",") if models else []
    return {"instance": {"name": name, "models": listed, "ports": {"rest": int(port.group(1))}}, "models": []}


def ports_of(pid: int, proc: Path = PROC) -> dict[str, int]:
    """Return the ports that a server was told to listen on, as ``grpc`` and ``rest``."""
    try:
        arguments = (proc / str(pid) / "cmdline").read_text(errors="replace").split("\0") if pid else []
    except OSError:
        return {}
    found = (_PORT.fullmatch(argument) for argument in arguments)
    return {"rest" if match.group(1) else "grpc": int(match.group(2)) for match in found if match}
