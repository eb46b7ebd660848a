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

_FIELD = re.compile(r'^ *(name|base_path|versions|all|num_versions)(?:: | {)"?([^"\n]*)', re.MULTILINE)
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


def derived(root: str, name: str, command: str) -> dict[str, Any] | None:
    """Make a description from an instance's other files, for a host of a release that wrote none.

    ``command`` is the command line of the health unit, which names the port and the models.
    """
    port, models = re.search(r"--rest-port=(\d+)", command), re.search(r"--models=([^\s;\"]+)", command)
    if not port:
        return None
    listed = models.group(1).split(",") if models else []
    instance = {"name": name, "models": listed, "ports": {"rest": int(port.group(1))}}
    return {"instance": {**instance, **_configured(root, name)}, "models": []}


def _configured(root: str, name: str) -> dict[str, Any]:
    """Read back what we have written of each model: one field a line, in this order."""
    try:
        configs = _configs((Path(root) / name / MODELS).read_text(encoding="utf-8", errors="replace"))
    except (OSError, ValueError, IndexError):
        # Not there, or not as we write it.
        return {}
    return {"model_config": {"model_config_list": {"config": configs}}} if configs else {}


def _configs(text: str) -> list[dict[str, Any]]:
    configs: list[dict[str, Any]] = []
    for field, value in _FIELD.findall(text):
        if field == "name":
            configs.append({"name": value})
        elif field == "base_path":
            configs[-1]["base_path"] = value
        else:
            _add_policy(configs[-1].setdefault("model_version_policy", {}), field, value)
    return configs


def _add_policy(policy: dict[str, Any], field: str, value: str) -> None:
    if field == "versions":
        policy.setdefault("specific", {"versions": []})["versions"].append(int(value))
    elif field == "num_versions":
        policy["latest"] = {"num_versions": int(value)}
    else:
        policy["all"] = {}


def ports_of(pid: int, proc: Path = PROC) -> dict[str, int]:
    """Return the ports that a server was told to listen on, as ``grpc`` and ``rest``."""
    try:
        arguments = (proc / str(pid) / "cmdline").read_text(errors="replace").split("\0") if pid else []
    except OSError:
        return {}
    found = (_PORT.fullmatch(argument) for argument in arguments)
    return {"rest" if match.group(1) else "grpc": int(match.group(2)) for match in found if match}
