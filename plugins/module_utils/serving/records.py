# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The record of what an instance serves, next to its files, so that it can be proven without any other record.

It is one of the tree's files, and is restored with the others when a change is taken back.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..disk import plain_files
from ..host.process import PROC

NAME = "instance.json"
# The file that makes a directory an instance's: its unit does not start without it.
MODELS = "models.config"
# A description takes some kilobytes, most of them probes; larger files are not ours.
LARGEST = 16 << 20

_FIELD = re.compile(r'^ *(name|base_path|versions|all|num_versions)(?:: | {)"?([^"\n]*)', re.MULTILINE)
# A compromised server may have any text as its command line.
_PORT = re.compile(r"--(rest_api_)?port=([0-9]{1,5})")
MOST_PORT = 65535


def _is_port(value: Any) -> bool:
    return plain_files.fits(value, int) and 0 < value <= MOST_PORT


def _is_whole(value: Any) -> bool:
    return plain_files.fits(value, int) or (isinstance(value, str) and bool(re.fullmatch("[0-9]{1,19}", value)))


def _is_seconds(value: Any) -> bool:
    return value is None or _is_whole(value) or (isinstance(value, float) and 0 <= value < 2**31)


def _or_nothing(shape: Any) -> Callable[[Any], bool]:
    """Return a shape that also accepts empty values, which count as not given; ``probe`` may be false."""
    return lambda value: not value or plain_files.fits(value, shape)


# The keys that code reads from a description without checking.
_POLICY = {
    "specific?": {"versions": [_is_whole]},
    "latest?": _or_nothing({"num_versions?": _is_whole}),
}
_CONFIG = {
    "name": str,
    "base_path?": _or_nothing(plain_files.is_path),
    "model_version_policy?": _or_nothing(_POLICY),
    "version_labels?": _or_nothing({str: _is_whole}),
}
_FLAGS = {"model_config_file_poll_wait_seconds?": _is_seconds, "file_system_poll_wait_seconds?": _is_seconds}
_GOLDEN = {
    "name": str,
    "line?": int,
    "signature_name?": _or_nothing(str),
    "expect?": _or_nothing({}),
    "shape?": _or_nothing({str: [int]}),
    "dtype?": _or_nothing({str: str}),
    "rtol": (int, float),
    "atol": (int, float),
    "max_latency_ms?": (int, float),
}
_SHAPE = {
    "instance": {
        "name": str,
        "models?": [str],
        "ports": {"rest": _is_port},
        "model_config?": {"model_config_list?": {"config?": _or_nothing([_CONFIG])}},
        "flags?": _or_nothing(_FLAGS),
        "start_timeout_s?": _is_seconds,
    },
    "models": [
        {
            "name": str,
            "probe?": _or_nothing({"signature_name?": _or_nothing(str)}),
            "golden?": _or_nothing({"file": str, "requests?": _or_nothing([_GOLDEN])}),
            "contract?": _or_nothing({}),
        }
    ],
}


def names(root: str) -> list[str]:
    """Return the names of the instances whose files are on the host."""
    return sorted(path.parent.name for path in Path(root).glob(f"*/{MODELS}"))


def read(root: str, name: str) -> dict[str, Any] | None:
    """Return the description of an instance; None if there is none or it is unreadable (0.1.0 wrote none)."""
    try:
        found = plain_files.json_of(os.path.join(root, name, NAME), LARGEST)
    except (OSError, ValueError):
        return None
    return found if is_description(found, name) else None


def is_description(value: Any, name: str) -> bool:
    """Return whether a value is a complete and valid description of the instance ``name``."""
    return plain_files.fits(value, _SHAPE) and bool(value["instance"]["name"] == name)


def derived(root: str, name: str, command: str) -> dict[str, Any] | None:
    """Derive a description from an instance's other files, for a host of a release that wrote none.

    ``command`` is the command line of the health unit, which names the port and the models.
    """
    port, models = re.search(r"--rest-port=([0-9]{1,5})\b", command), re.search(r"--models=([^\s;\"]+)", command)
    if not port or not _is_port(int(port.group(1))):
        return None
    listed = models.group(1).split(",") if models else []
    instance = {"name": name, "models": listed, "ports": {"rest": int(port.group(1))}}
    return {"instance": {**instance, **_configured(root, name)}, "models": []}


def _configured(root: str, name: str) -> dict[str, Any]:
    """Parse our own configuration of each model: one field per line, in this order."""
    try:
        configs = _configs(plain_files.read(Path(root) / name / MODELS, LARGEST).decode("utf-8", "replace"))
    except (OSError, ValueError, IndexError):
        # Missing, or not in our format.
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
    ports = (("rest" if match.group(1) else "grpc", int(match.group(2))) for match in found if match)
    return {kind: port for kind, port in ports if _is_port(port)}
