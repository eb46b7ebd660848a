# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""An instance's files with a roll-out of a model taken back, byte for byte as the role tfserving writes them.

Only what the role writes is changed; of a file of any other form nothing is known, and ValueError is raised.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ..disk import plain_files

# In models.config (plugin_utils/server/textproto.py renders it): one model, its policy, and the values of its labels.
_MODEL = re.compile(r"^  config \{\n(?:    .*\n)*?  \}$", re.MULTILINE)
_POLICY = re.compile(r"^(      specific \{\n)((?:        versions: [0-9]+\n)+)(?=      \}$)", re.MULTILINE)
_VERSION = re.compile(r"[0-9]+")
_LABEL = re.compile(r"^(      value: )([0-9]+)$", re.MULTILINE)
# In gate.json: one instance.
_INSTANCE = re.compile(r'^(  "[^"\\]*": )(\{.*\})(,?)$', re.MULTILINE)


class Move(NamedTuple):
    """A roll-out that is taken back: the version from before, and the one that took its place, None if not known."""

    old: int
    new: int | None = None

    def before(self, now: Sequence[int]) -> list[int]:
        """Return what is served once it is taken back: the old version, and what is served beside the two."""
        is_of_these = self.new is not None and not {self.old, self.new}.isdisjoint(now)
        return sorted({self.old, *(set(now) - {self.new} if is_of_these else ())})


def carried(labels: Mapping[str, int], versions: Sequence[int]) -> dict[str, int]:
    """Return labels with ``versions``, ascending, alone: one of a version that goes names the highest that is left."""
    return {label: version if version in versions else versions[-1] for label, version in labels.items()}


def in_models(text: str, model: str, move: Move) -> str:
    """Return models.config with a roll-out of a model taken back. Raises ValueError."""
    found = [block for block in _MODEL.finditer(text) if f'\n    name: "{model}"\n' in block[0]]
    if len(found) != 1:
        raise ValueError(f"does not have the model {model} once")
    policies = list(_POLICY.finditer(found[0][0]))
    if len(policies) != 1:
        raise ValueError(f"does not list the versions of {model}")
    versions = move.before(list(map(int, _VERSION.findall(policies[0][2]))))
    lines = "".join(f"        versions: {version}\n" for version in versions)
    changed = _POLICY.sub(lambda policy: policy[1] + lines, found[0][0])
    changed = _LABEL.sub(lambda label: label[1] + str(carried({"": int(label[2])}, versions)[""]), changed)
    begin, end = found[0].span()
    return text[:begin] + changed + text[end:]


def in_description(text: str, model: str, move: Move) -> str:
    """Return instance.json likewise. Raises ValueError."""
    found = plain_files.parsed(text.encode())
    changed = {**found, "instance": instance(found["instance"], model, move)}
    return json.dumps(changed, indent=4, sort_keys=True) + ("\n" if text.endswith("\n") else "")


def in_gate(text: str, model: str, move: Move) -> str:
    """Return gate.json likewise, for all instances of the host. Raises ValueError."""

    def entry(line: re.Match[str]) -> str:
        found = plain_files.parsed(line[2].encode())
        models = [_config(each, move) if each["name"] == model else each for each in found["models"]]
        return line[1] + json.dumps({**found, "models": models}) + line[3]

    return _INSTANCE.sub(entry, text)


def instance(entry: dict[str, Any], model: str, move: Move) -> dict[str, Any]:
    """Return an instance of a plan likewise."""
    changed = copy.deepcopy(entry)
    for config in of_model(changed, model):
        config.update(_config(config, move))
    return changed


def of_model(entry: Mapping[str, Any], model: str) -> Iterator[dict[str, Any]]:
    """Yield what an instance's configuration says of a model."""
    configs = ((entry.get("model_config") or {}).get("model_config_list") or {}).get("config") or []
    return (config for config in configs if config["name"] == model)


def listed(config: Mapping[str, Any]) -> list[int]:
    """Return the versions that a model's configuration lists; none where it has another policy."""
    return list(((config.get("model_version_policy") or {}).get("specific") or {}).get("versions") or ())


def _config(config: dict[str, Any], move: Move) -> dict[str, Any]:
    versions, labels = move.before(listed(config)), config.get("version_labels")
    moved = {"version_labels": carried(labels, versions)} if labels else {}
    return {**config, "model_version_policy": {"specific": {"versions": versions}}, **moved}
