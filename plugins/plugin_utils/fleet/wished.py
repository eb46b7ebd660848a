# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Digests of what a host is to be: its wishes, and the collection that carries them out.

A host may leave a run early only while both are what they were in its last whole run. What has no digest is no reason
to fail: the host goes through the whole run.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence, Set
from dataclasses import fields, is_dataclass
from functools import cache
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

from ansible import constants
from ansible.errors import AnsibleError

from ..caller import ROOT, version

# What a run reads of the collection.
_PARTS = ("playbooks", "plugins", "roles")
_NOT_READ = ("__pycache__", ".pyc")
# What templates are worked out by.
_PACKAGES = ("ansible-core", "jinja2", "pyyaml")
# What files of Ansible begin with, unless the variable of that name says otherwise. With signs, it has times and owners
# of the controller's templates in it, and is no part of a wish.
_MANAGED, _SIGNS = "DEFAULT_MANAGED_STR", frozenset("%{")
# Variables that are no role's, and that roles read.
NAMES = ("ansible_host", "ansible_connection", "ansible_user", "inventory_hostname")


def of_hosts(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the variables that say what a host is to be; the others say how this run goes about it."""
    return {name: value for name, value in values.items() if not name.startswith("fleet_")}


def managed(variable: Any) -> Any:
    """Return what templates say of who manages a file; None where that depends on more than wishes."""
    if variable is not None:
        return variable
    try:
        text = str(constants.config.get_config_value(_MANAGED))
    except AnsibleError:
        # A release without the setting has but the variable.
        return ""
    return None if _SIGNS.intersection(text) else text


def wishes(*parts: Any) -> str:
    """Return a digest of wishes with their templates worked out; empty if they hold anything that has none."""
    try:
        text = json.dumps(parts, sort_keys=True, default=_plain)
    except (TypeError, ValueError, RecursionError):
        return ""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _plain(value: Any) -> Any:
    """Return data in place of what JSON does not know. Raises TypeError for an object that may hide a part."""
    if is_dataclass(value) and not isinstance(value, type):
        return {"kind": type(value).__name__, **{each.name: getattr(value, each.name) for each in fields(value)}}
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (bytes, bytearray)):
        return value.hex()
    if isinstance(value, Set):
        return sorted(map(repr, value))
    if isinstance(value, Sequence):
        return list(value)
    raise TypeError(type(value).__name__)


@cache
def collection(root: Path = ROOT) -> str:
    """Return a digest of the collection and of what runs it. Read once: a process has the code that it has."""
    found = hashlib.sha256()
    found.update(repr([version(root), sys.version, *((name, installed(name)) for name in _PACKAGES)]).encode())
    for part in _PARTS:
        for path in sorted((root / part).rglob("*")):
            if path.is_file() and not str(path).endswith(_NOT_READ[1]) and _NOT_READ[0] not in path.parts:
                content = hashlib.sha256(path.read_bytes()).hexdigest()
                found.update(f"{path.relative_to(root)}\0{path.stat().st_mode & 0o111:o}\0{content}\n".encode())
    return found.hexdigest()
