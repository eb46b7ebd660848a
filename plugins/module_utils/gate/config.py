# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What the plan says of a host's gates: /etc/tfserving/gate.json, read anew when it changes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..disk import plain_files

PATH = "/etc/tfserving/gate.json"
SCHEMA = 1

# A host has a few instances with a few models each; this is room for hundreds.
_MOST_BYTES = 1 << 20
_MOST_S = 24 * 3600.0


def _is_port(value: Any) -> bool:
    return plain_files.fits(value, int) and 0 < value < 65536


def _is_seconds(value: Any) -> bool:
    return plain_files.fits(value, (int, float)) and 0 <= value <= _MOST_S


def _is_version(value: Any) -> bool:
    return plain_files.fits(value, int) or (isinstance(value, str) and value.isdecimal() and len(value) < 20)


def _is_policy(value: Any) -> bool:
    return not value or plain_files.fits(value, {"specific?": {"versions": [_is_version]}})


_SHAPE = {
    "schema": lambda value: value == SCHEMA,
    "port": _is_port,
    "drain_timeout_s": _is_seconds,
    "longest_call_s": _is_seconds,
    "gateways": [str],
    "instances": {
        str: {
            "ports": {"rest": _is_port, "grpc": _is_port},
            "models": [{"name": str, "model_version_policy?": _is_policy}],
        }
    },
}


class ConfigError(Exception):
    """The file cannot be used; the text is one sentence."""


@dataclass(frozen=True)
class Instance:
    """One server of the host: its ports, and for each model the versions that it must have had available once.

    Only versions that the plan lists are here. For a policy such as "the newest one" the server decides, and it opens
    its ports only after it has loaded them.
    """

    name: str
    rest: int
    grpc: int
    models: Mapping[str, frozenset[int]]

    @property
    def ports(self) -> tuple[int, int]:
        """Return the ports that callers use, gRPC's first."""
        return self.grpc, self.rest


@dataclass(frozen=True)
class Config:
    """The gates of a host; times in seconds. ``gateways`` are those that the plan expects to ask for them."""

    port: int
    drain_timeout_s: float
    longest_call_s: float
    gateways: tuple[str, ...]
    instances: Mapping[str, Instance]


def read(path: str = PATH) -> Config:
    """Return what the file says. Raises ConfigError."""
    try:
        found = plain_files.json_of(path, _MOST_BYTES)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); run the playbook site.yml again") from error
    except ValueError as error:
        raise ConfigError(f"{path}: is no JSON ({error}); run the playbook site.yml again") from error
    return of(found, path)


def of(found: Any, path: str) -> Config:
    """Return what the value of a file says. Raises ConfigError."""
    if not plain_files.fits(found, _SHAPE):
        raise ConfigError(f"{path}: does not describe the gates of a host; run the playbook site.yml again")
    instances = {name: _instance(name, entry) for name, entry in found["instances"].items()}
    times = float(found["drain_timeout_s"]), float(found["longest_call_s"])
    return Config(found["port"], *times, tuple(found["gateways"]), instances)


def _instance(name: str, entry: Mapping[str, Any]) -> Instance:
    models = {model["name"]: _versions(model.get("model_version_policy") or {}) for model in entry["models"]}
    return Instance(name, entry["ports"]["rest"], entry["ports"]["grpc"], models)


def _versions(policy: Mapping[str, Any]) -> frozenset[int]:
    return frozenset(map(int, policy.get("specific", {}).get("versions", ())))


class Watched:
    """The file as it is now, parsed only when it has changed."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.problem = ""
        """Why the file as it is now cannot be used; the one before it stays in force."""
        self._config = read(path)
        self._mark = self._marked()

    def _marked(self) -> tuple[int, ...]:
        try:
            found = os.stat(self.path)
        except OSError:
            return ()
        return found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size

    def now(self) -> Config:
        """Return what is in force."""
        mark = self._marked()
        if mark != self._mark:
            self._mark = mark
            try:
                self._config, self.problem = read(self.path), ""
            except ConfigError as error:
                self.problem = str(error)
        return self._config
