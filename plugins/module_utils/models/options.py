# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The options of a run over a host's model repository."""

from __future__ import annotations

from typing import Any

from .. import defaults
from .sources import table as sources

_SOURCE = {
    "type": {"type": "str", "required": True},
    "uri": {"type": "str", "required": True},
    "sha256": {"type": "raw"},
    **{name: key.option for name, key in sources.keys().items()},
}
_MODEL = {
    "name": {"type": "str", "required": True},
    "versions": {"type": "list", "elements": "raw", "required": True},
    "provided": {"type": "list", "elements": "raw"},
    "source": {"type": "dict", "options": _SOURCE, "required": True},
    "serve": {"type": "dict", "default": {"latest": 1}},
    "contract": {"type": "dict"},
    "probe": {"type": "raw"},
    "golden": {"type": "dict"},
    "warmup": {"type": "raw", "default": "auto"},
    "proofs": {"type": "dict"},
    "keep": {"type": "int"},
    "protected": {"type": "list", "elements": "raw", "default": []},
    "path": {"type": "str"},
}
_INSTANCE = {
    "name": {"type": "str", "required": True},
    "models": {"type": "list", "elements": "str", "default": []},
    "ports": {"type": "dict", "default": {}},
    "flags": {"type": "dict", "default": {}},
    "batching": {"type": "dict"},
}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "root": {"type": "path", "default": defaults.MODELS},
    "models": {"type": "list", "elements": "dict", "options": _MODEL, "required": True},
    # One text: in a mapping, Ansible would mask each value, even "1", wherever it occurs in the result.
    "sources": {"type": "str", "default": "{}", "no_log": True},
    "instances": {"type": "list", "elements": "dict", "options": _INSTANCE, "default": []},
    "owner": {"type": "str", "default": "root"},
    "group": {"type": "str", "default": "root"},
    "directory_mode": {"type": "str", "default": "0755"},
    "file_mode": {"type": "str", "default": "0644"},
    "headers": {"type": "dict", "default": {}, "no_log": True},
    "download_timeout": {"type": "int", "default": 60},
    "min_free_mb": {"type": "int", "default": 1024},
    "staging": {"type": "path"},
    # Read by the action on the controller.
    "imports": {"type": "path"},
    "prune": {"type": "bool", "default": True},
    "state": {"type": "str", "choices": ["present"], "default": "present"},
    "staged": {"type": "dict", "default": {}},
}
