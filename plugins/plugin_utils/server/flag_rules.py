# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Checks of the flags of ``tensorflow_model_server``, alone and together.

Source: model_servers/server.cc (BuildAndStart), server_core.cc and main.cc, at the surveyed tags.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.defaults import MODELS
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError, described

# sockaddr_un.sun_path holds 108 bytes on Linux, including the closing NUL (unix(7)).
SOCKET_PATH_BYTES = 107

# The division of a session's threads, if both are set.
_OP_PARALLELISM = ("tensorflow_intra_op_parallelism", "tensorflow_inter_op_parallelism")


def check_socket_path(value: str, path: str) -> None:
    """Refuse a UNIX socket path that is too long for the kernel."""
    if len(value.encode()) > SOCKET_PATH_BYTES:
        problem = f"a path of {len(value.encode())} bytes is too long for a UNIX socket"
        raise WishError(path, problem, f"use at most {SOCKET_PATH_BYTES} bytes, such as /run/tfserving/NAME/grpc.sock")


def check_model_name(value: str, path: str) -> None:
    """Refuse an empty model name. The server accepts any other; in REST paths "/" is "%2F" and ":" is "%3A"."""
    if not value:
        raise WishError(path, "a model needs a name", "write one, or leave the key out")


def check_base_path(value: str, path: str) -> None:
    """Refuse a base path that is neither absolute nor a URI (the server would not start)."""
    if value and not re.match(r"/|[A-Za-z][A-Za-z0-9+.-]*://", value):
        remedy = f"write an absolute path such as {MODELS}/NAME, or a URI"
        raise WishError(path, f"{described(value)} is relative, which the server refuses at start", remedy)


def check_channel_arguments(value: str, path: str) -> None:
    """Refuse items that are not ``key=value``: the server reads past the end of the split item, or truncates it."""
    for item in value.split(",") if value else []:
        key, *values = item.split("=")
        if len(values) != 1 or not key.strip():
            fault = "two equals signs, the server cuts it at the second" if len(values) > 1 else "no key=value"
            raise WishError(path, f"an item has {fault}", "write 'key=value,key=value'")


# The checks that tables/flag_rules.yml names under "form".
FORMS: dict[str, Callable[[Any, str], None]] = {
    "socket_path": check_socket_path,
    "model_name": check_model_name,
    "base_path": check_base_path,
    "channel_arguments": check_channel_arguments,
}


class Flags:
    """The flags as the server will see them: the user's values, else the server's defaults."""

    def __init__(self, wishes: Mapping[str, Any], rows: Mapping[str, Mapping[str, Any]]) -> None:
        self._wishes = wishes
        self._rows = rows

    def __getitem__(self, name: str) -> Any:
        return self._wishes.get(name, self._rows[name]["default"])

    def wished(self, name: str) -> bool:
        """Return whether the user set the flag."""
        return name in self._wishes

    def ignored(self) -> list[str]:
        """Return the user's flags that the server ignores when platform_config_file is set."""
        return [name for name in self._wishes if self._rows[name].get("unless") == "platform_config_file"]


@dataclass(frozen=True)
class Conflict:
    """A combination that cannot work: the flag to blame, the condition, the effect and the remedy.

    ``kind`` says what a server makes of it: it ``stops``, it ``loses`` a part of its service, or the flag is ``idle``.
    """

    flag: str
    when: Callable[[Flags], Any]
    problem: str
    remedy: str
    kind: str = "stops"


CONFLICTS = (
    Conflict(
        "version",
        lambda f: f["version"],
        "makes the server print its version and leave, so nothing would be served",
        "leave it out",
    ),
    Conflict(
        "port",
        lambda f: f["port"] == 0 and not f["grpc_socket_path"],
        "0 turns the TCP listener off and no grpc_socket_path is set, so the server does not start",
        "set grpc_socket_path or a port",
    ),
    Conflict(
        "rest_api_port",
        lambda f: f["rest_api_port"] and f["rest_api_port"] == f["port"],
        "is the same as port, so the server would run without REST and without metrics",
        "give each its own port",
        "loses",
    ),
    Conflict(
        "use_alts_credentials",
        lambda f: f["use_alts_credentials"] and f["ssl_config_file"],
        "excludes ssl_config_file, and the server does not start with both",
        "keep one of them",
    ),
    Conflict(
        "monitoring_config_file",
        lambda f: f["monitoring_config_file"] and not f["rest_api_port"],
        "is read only when REST is on, and rest_api_port is 0, so there would be no metrics",
        "set rest_api_port",
        "idle",
    ),
    Conflict(
        "thread_pool_factory_config_file",
        lambda f: f["thread_pool_factory_config_file"],
        "names a factory, and the released servers register none, so they leave after loading every model",
        "leave it out",
    ),
    # Models: either a file that lists them, or a single one.
    Conflict(
        "model_config_file",
        lambda f: not f["model_config_file"] and not f["model_base_path"],
        "is not set and neither is model_base_path, so the server does not start",
        "set one of them",
    ),
    Conflict(
        "model_base_path",
        lambda f: f["model_config_file"] and f["model_base_path"],
        "is ignored once model_config_file is set",
        "keep one of them",
        "idle",
    ),
    Conflict(
        "model_name",
        lambda f: f["model_config_file"] and f.wished("model_name"),
        "is ignored once model_config_file is set",
        "leave it out and name the models in the file",
        "idle",
    ),
    Conflict(
        "model_config_file_poll_wait_seconds",
        lambda f: f["model_config_file_poll_wait_seconds"] and not f["model_config_file"],
        "reads model_config_file again, which is not set",
        "set model_config_file or leave this out",
        "idle",
    ),
    Conflict(
        "allow_version_labels_for_unavailable_models",
        lambda f: f["allow_version_labels_for_unavailable_models"] and not f["model_config_file"],
        "concerns version labels, which only model_config_file can give",
        "set model_config_file or leave this out",
        "idle",
    ),
    # A platform_config_file silently replaces the configuration that the flags below build.
    Conflict(
        "batching_parameters_file",
        lambda f: f["batching_parameters_file"] and not f["enable_batching"],
        "needs enable_batching, and the server does not start without",
        "set enable_batching to true or leave this out",
    ),
    Conflict(
        "enable_per_model_batching_parameters",
        lambda f: f["enable_per_model_batching_parameters"] and not f["enable_batching"],
        "has no effect without enable_batching",
        "set enable_batching to true or leave this out",
        "idle",
    ),
    Conflict(
        "tensorflow_session_parallelism",
        lambda f: f["tensorflow_session_parallelism"] and all(f[name] for name in _OP_PARALLELISM),
        "cannot be set beside both tensorflow_intra_op_parallelism and tensorflow_inter_op_parallelism: "
        "the server does not start",
        "leave it out",
    ),
    Conflict(
        "tensorflow_session_parallelism",
        lambda f: f["tensorflow_session_parallelism"] and any(f[name] for name in _OP_PARALLELISM),
        "is ignored once tensorflow_intra_op_parallelism or tensorflow_inter_op_parallelism is set",
        "leave it out, and set both of the others",
        "idle",
    ),
    Conflict(
        "num_tflite_pools",
        lambda f: f.wished("num_tflite_pools") and not f["prefer_tflite_model"],
        "has no effect without prefer_tflite_model",
        "set prefer_tflite_model to true or leave this out",
        "idle",
    ),
    Conflict(
        "num_tflite_interpreters_per_pool",
        lambda f: f.wished("num_tflite_interpreters_per_pool") and not f["prefer_tflite_model"],
        "has no effect without prefer_tflite_model",
        "set prefer_tflite_model to true or leave this out",
        "idle",
    ),
)


def check_together(wishes: Mapping[str, Any], rows: Mapping[str, Mapping[str, Any]], path: str) -> None:
    """Refuse combinations that stop the server or silently disable a part of it.

    :param wishes: the flags that are set, already of the right types.
    :param rows: all flags of the table, for the defaults of the others.
    """
    flags = Flags(wishes, rows)
    if flags["platform_config_file"] and flags.ignored():
        problem = f"makes the server ignore {', '.join(sorted(flags.ignored()))}"
        remedy = "set these to null and write their meaning into that file"
        raise WishError(f"{path}.platform_config_file", problem, remedy)
    for conflict in CONFLICTS:
        if conflict.when(flags):
            raise WishError(f"{path}.{conflict.flag}", conflict.problem, conflict.remedy)
