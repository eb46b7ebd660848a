# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A serving host in a roll-out 7 -> 8: files as the role writes them, versions on disk, a server that reads them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jinja2
from ansible.plugins.filter.core import to_json, to_nice_json
from ansible_collections.tfserving.fleet.plugins.module_utils.serving.versions_text import Move
from ansible_collections.tfserving.fleet.plugins.module_utils.serving.way_back import Place, WayBack
from ansible_collections.tfserving.fleet.plugins.plugin_utils.server.textproto import render
from repository import REPOSITORY
from serving_double import FakeHost, FakeServer, Model

TEMPLATES = REPOSITORY / "roles/tfserving/templates/host/etc/tfserving"
PROBES = [{"name": "ranker", "probe": None, "golden": None, "contract": None}, {"name": "other", "probe": False}]


def instance(root: Path, *versions: int, rest: int = 1, grpc: int = 2, **labels: int) -> dict[str, Any]:
    """Return as much of an instance of the plan as its files are made of."""
    configs: list[dict[str, Any]] = [
        {
            "name": name,
            "base_path": f"{root}/models/{name}",
            "model_platform": "tensorflow",
            "model_version_policy": {"specific": {"versions": list(served)}},
        }
        for name, served in (("other", (8,)), ("ranker", versions))
    ]
    if labels:
        configs[1]["version_labels"] = labels
    return {
        "name": "main",
        "models": ["other", "ranker"],
        "ports": {"grpc": grpc, "rest": rest},
        "model_config": {"model_config_list": {"config": configs}},
        "flags": {"model_config_file_poll_wait_seconds": 10},
        "start_timeout_s": 60,
    }


def files(entry: dict[str, Any]) -> dict[str, str]:
    """Return the files of an instance that tell its versions, by path, as the role writes them."""
    environment = jinja2.Environment(trim_blocks=True, keep_trailing_newline=True, autoescape=False)
    # As Ansible's templates do, which know no generators.
    select = environment.filters["selectattr"]
    listed = jinja2.pass_context(lambda *given: list(select(*given)))
    environment.filters |= {"to_json": to_json, "to_nice_json": to_nice_json, "selectattr": listed}
    plan = {
        "gate": {"port": 8490, "drain_timeout_s": 60, "longest_call_s": 30, "gateways": [{"name": "edge"}]},
        "instances": [entry, {**entry, "name": "second", "model_config": entry["model_config"]}],
    }
    known = {"instance": entry, "tfserving_plan": plan, "__tfserving_probes": PROBES}
    rendered = {
        path: environment.from_string((TEMPLATES / f"{path}.j2").read_text()).render(known)
        for path in ("gate.json", "{instance}/instance.json")
    }
    return {
        "gate.json": rendered["gate.json"],
        "main/instance.json": rendered["{instance}/instance.json"],
        "main/models.config": render(entry["model_config"], "ModelServerConfig") + "\n",
    }


class Reading(Model):
    """A model as a server has it that takes in its file at once."""

    def __init__(self, config: Path) -> None:
        self.config = config
        self.states: dict[int, Any] = {}
        super().__init__()

    @property
    def versions(self) -> dict[int, Any]:
        block = self.config.read_text().partition('name: "ranker"')[2] if self.config.exists() else ""
        listed = list(map(int, re.findall(r"versions: ([0-9]+)", block)))
        return {8: "END", **dict.fromkeys(listed, "AVAILABLE"), **self.states}

    @versions.setter
    def versions(self, _value: Any) -> None:
        pass


class ReturningHost:
    """A host on which 8 was loaded beside 7; for a ``with`` statement."""

    def __init__(self, root: Path, *versions: int, **labels: int) -> None:
        self.root = root
        self.config = root / "etc"
        self.model = Reading(self.config / "main/models.config")
        self.server = FakeServer(ranker=self.model)
        self.unit = FakeHost()
        (self.config / "main").mkdir(parents=True)
        for version in (7, 8):
            (root / f"models/ranker/{version}").mkdir(parents=True)
        self.labels = labels
        self.write(*(versions or (7, 8)))

    def __enter__(self) -> ReturningHost:
        self.server.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.server.__exit__(*error)

    def wanted(self, *versions: int) -> dict[str, str]:
        """Return the files for versions."""
        labels = {label: at if at in versions else versions[-1] for label, at in self.labels.items()}
        return files(instance(self.root, *versions, rest=self.server.port, **labels))

    def write(self, *versions: int) -> None:
        """Lay the files for versions down."""
        for path, text in self.wanted(*versions).items():
            (self.config / path).write_text(text)

    def present(self) -> dict[str, str]:
        """Return the files as they are."""
        return {path: (self.config / path).read_text() for path in self.wanted(7)}

    @property
    def place(self) -> Place:
        """Return where all of it is."""
        return Place(str(self.config), str(self.root / "trees"), models=str(self.root / "models"))

    def back(self, seconds: float = 0, check_mode: bool = False) -> tuple[list[dict[str, Any]], bool]:
        """Take 7 -> 8 back as the module does it."""
        found, changed = WayBack(self.unit.run, "ranker", Move(7, 8), self.place).go(seconds, check_mode)
        return json.loads(json.dumps([each.to_json() for each in found])), changed
