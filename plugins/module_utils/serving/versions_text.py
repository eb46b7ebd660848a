# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""An instance's files with one version of a model in place of others, byte for byte as the role tfserving writes them.

Only what the role writes is changed; of a file of any other form nothing is known, and ValueError is raised.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from typing import Any

from ..disk import plain_files

# In models.config (plugin_utils/server/textproto.py renders it): one model, its policy, and the values of its labels.
_MODEL = re.compile(r"^  config \{\n(?:    .*\n)*?  \}$", re.MULTILINE)
_POLICY = re.compile(r"^(      specific \{\n)(?:        versions: [0-9]+\n)+(?=      \}$)", re.MULTILINE)
_LABEL = re.compile(r"^(      value: )[0-9]+$", re.MULTILINE)
# In gate.json: one instance.
_INSTANCE = re.compile(r'^(  "[^"\\]*": )(\{.*\})(,?)$', re.MULTILINE)


def in_models(text: str, model: str, version: int) -> str:
    """Return models.config with ``version`` of a model alone; its labels name it too. Raises ValueError."""
    found = [block for block in _MODEL.finditer(text) if f'\n    name: "{model}"\n' in block[0]]
    if len(found) != 1:
        raise ValueError(f"does not have the model {model} once")
    changed, count = _POLICY.subn(rf"\g<1>        versions: {version}\n", found[0][0])
    if count != 1:
        raise ValueError(f"does not list the versions of {model}")
    changed = _LABEL.sub(rf"\g<1>{version}", changed)
    begin, end = found[0].span()
    return text[:begin] + changed + text[end:]


def in_description(text: str, model: str, version: int) -> str:
    """Return instance.json likewise. Raises ValueError."""
    found = plain_files.parsed(text.encode())
    changed = {**found, "instance": instance(found["instance"], model, version)}
    return json.dumps(changed, indent=4, sort_keys=True) + ("\n" if text.endswith("\n") else "")


def in_gate(text: str, model: str, version: int) -> str:
    """Return gate.json likewise, for all instances of the host. Raises ValueError."""

    def entry(line: re.Match[str]) -> str:
        found = plain_files.parsed(line[2].encode())
        models = [_config(each, version) if each["name"] == model else each for each in found["models"]]
        return line[1] + json.dumps({**found, "models": models}) + line[3]

    return _INSTANCE.sub(entry, text)


def instance(entry: dict[str, Any], model: str, version: int) -> dict[str, Any]:
    """Return an instance of a plan with ``version`` of a model alone."""
    changed = copy.deepcopy(entry)
    for config in of_model(changed, model):
        config.update(_config(config, version))
    return changed


def of_model(entry: dict[str, Any], model: str) -> Iterator[dict[str, Any]]:
    """Yield what an instance's configuration says of a model."""
    configs = ((entry.get("model_config") or {}).get("model_config_list") or {}).get("config") or []
    return (config for config in configs if config["name"] == model)


def _config(config: dict[str, Any], version: int) -> dict[str, Any]:
    labels = config.get("version_labels")
    moved = {"version_labels": dict.fromkeys(labels, version)} if labels else {}
    return {**config, "model_version_policy": {"specific": {"versions": [version]}}, **moved}
