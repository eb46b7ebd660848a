# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A surveyed server with what follows from its command line and its files; a survey is foreign data, and stays so."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.visible_text import told

from ..diagnosis.reading import at, listed, mapping, number, text
from ..server.textproto_read import read as read_proto
from . import command_line, launch
from .command_line import CommandLine

# The messages of the files that flags name. A PlatformConfigMap is no message that the collection writes.
MESSAGES = {
    "model_config_file": "ModelServerConfig",
    "batching_parameters_file": "BatchingParameters",
    "monitoring_config_file": "MonitoringConfig",
    "tensorflow_session_config_file": "ConfigProto",
}
# What the batch scheduler takes for fields that nobody sets (bundle_factory_util.h, shared_batch_scheduler.h);
# num_batch_threads is the number of CPUs.
BATCHING = {"max_batch_size": 1000, "batch_timeout_micros": 0, "max_enqueued_batches": 10}
HIDDEN = "***"
# Units of the collection's own instances: there is nothing to adopt.
OURS = re.compile(r"tfserving@.+\.service")
CONTAINERS = ("docker", "podman", "compose")
LONGEST_NAME = 120
_TAG = re.compile(r":([A-Za-z0-9_][A-Za-z0-9_.-]{0,127})(?:@sha256:[0-9a-f]{64})?$")
_RELEASE = re.compile(r"(?:^|-)([0-9]+\.[0-9]+\.[0-9]+)")


@dataclass(frozen=True)
class Model:
    """A model that a server is told to serve."""

    name: str
    base_path: str
    policy: Mapping[str, Any]
    labels: Mapping[str, int]
    seen: Mapping[str, Any]
    """What the survey found at its base path."""

    @property
    def versions(self) -> list[int]:
        """The versions on disk, ascending."""
        return sorted(int(each) for each in listed(self.seen.get("versions_on_disk")) if number(each) is not None)

    def chosen(self) -> list[int]:
        """Return the versions that the policy picks of those on disk."""
        if "specific" in self.policy:
            wanted = listed(mapping(self.policy["specific"]).get("versions"))
            return [each for each in self.versions if each in wanted]
        if "all" in self.policy:
            return self.versions
        count = int(number(mapping(self.policy.get("latest")).get("num_versions")) or 1)
        return self.versions[-count:]


@dataclass(frozen=True)
class Case:
    """A server, running or only described by its launcher."""

    host: str
    server: Mapping[str, Any]
    name: str
    line: CommandLine
    launch: launch.Launch
    running: bool
    problems: dict[str, str] = field(default_factory=dict)
    """Why a file that a flag names cannot be read, by flag."""

    @cached_property
    def origin(self) -> Mapping[str, Any]:
        """Who started it."""
        return mapping(self.server.get("origin"))

    @property
    def kind(self) -> str:
        """The kind of its origin."""
        return text(self.origin.get("kind")) or "by_hand"

    @cached_property
    def container(self) -> Mapping[str, Any]:
        """Its container; empty where it runs in none."""
        return mapping(self.origin.get("container"))

    @cached_property
    def unit(self) -> Mapping[str, Any]:
        """Its unit; empty where systemd did not start it."""
        return mapping(self.origin.get("unit"))

    @cached_property
    def environment(self) -> dict[str, str]:
        """The variables that programs like it read."""
        return {str(name): text(value) for name, value in mapping(self.server.get("environment")).items()}

    @cached_property
    def other_names(self) -> list[str]:
        """The names of its other variables."""
        return [text(name) for name in listed(self.server.get("other_environment"))]

    @cached_property
    def serves(self) -> list[dict[str, Any]]:
        """What it said that it serves: model, version, state and error of each version."""
        given = [each for each in listed(self.server.get("serves")) if isinstance(each, Mapping)]
        words = [{key: text(each.get(key)) for key in ("model", "state", "error")} for each in given]
        versions = [number(each.get("version")) for each in given]
        return [{**each, "version": int(version)} for each, version in zip(words, versions) if version is not None]

    @property
    def known_version(self) -> str:
        """The release that it is known to be, else an empty text."""
        return version_of(self.server, self.container)

    @property
    def by_host_network(self) -> bool:
        """Whether its ports are the host's own."""
        return not self.container or text(self.container.get("network")) == "host"

    def file(self, flag: str) -> Mapping[str, Any]:
        """Return what the survey knows of the file that a flag names."""
        return mapping(mapping(self.server.get("files")).get(flag))

    @cached_property
    def parsed(self) -> dict[str, dict[str, Any]]:
        """The files that flags name, as data; ``problems`` says why one is missing."""
        found = {}
        for flag, message in MESSAGES.items():
            if not self.line.given.get(flag):
                continue
            content, error = self.file(flag).get("text"), text(self.file(flag).get("error"))
            try:
                if content is None:
                    raise WishError("", error or "was not read", "")
                found[flag] = read_proto(text(content), message)
            except WishError as refusal:
                self.problems[flag] = told(str(refusal), 300)
        return found

    @cached_property
    def models(self) -> list[Model]:
        """The models that it is told to serve."""
        seen = {text(each.get("name")): each for each in listed(self.server.get("models")) if isinstance(each, Mapping)}
        if self.line.given.get("model_config_file"):
            entries = listed(at(self.parsed, "model_config_file", "model_config_list", "config"))
            return [_model(each, seen) for each in entries]
        if not self.line["model_base_path"]:
            return []
        named = {"name": self.line["model_name"], "base_path": self.line["model_base_path"]}
        return [_model(named, seen)]

    @property
    def batching(self) -> dict[str, Any] | None:
        """The parameters of batching in effect; None where it forms no batches."""
        if not self.line.given.get("enable_batching"):
            return None
        return {**BATCHING, **self.parsed.get("batching_parameters_file", {})}


def _model(entry: Mapping[str, Any], seen: Mapping[str, Mapping[str, Any]]) -> Model:
    name = text(entry.get("name"))
    return Model(
        name,
        text(entry.get("base_path")),
        mapping(entry.get("model_version_policy")),
        {str(label): int(version) for label, version in mapping(entry.get("version_labels")).items()},
        seen.get(name, {}),
    )


def cases(survey: Mapping[str, Any]) -> list[Case]:
    """Return the servers of a survey: those that run, then those that only a launcher describes."""
    host, names = text(survey.get("host")), set[str]()
    running = [each for each in listed(survey.get("servers")) if isinstance(each, Mapping)]
    stopped = [each for each in listed(survey.get("launchers")) if isinstance(each, Mapping)]
    found = [_case(host, each, names, True) for each in running]
    return [each for each in [*found, *(_case(host, each, names, False) for each in stopped)] if each]


def _case(host: str, given: Mapping[str, Any], names: set[str], running: bool) -> Case | None:
    server = given if running else {"origin": given, **given}
    origin = mapping(server.get("origin"))
    if OURS.fullmatch(text(origin.get("name"))):
        return None
    container = mapping(origin.get("container"))
    environment = {str(name): text(value) for name, value in mapping(server.get("environment")).items()}
    if running:
        words = [text(word) for word in listed(server.get("argv"))]
        started = launch.of_process(words, bool(container), text(server.get("exe")))
    else:
        told_by = launch.of_launcher(launch.words_of(origin), environment)
        if told_by is None:
            return None
        started = told_by
    line = command_line.read(started.arguments, version_of(server, container) or None, started.entrypoint)
    return Case(host, server, _named(server, origin, line, names), line, started, running)


def version_of(server: Mapping[str, Any], container: Mapping[str, Any]) -> str:
    """Return the release of a server, as the survey or the tag of its image tells it; empty where neither does."""
    tag = _TAG.search(text(container.get("image")))
    found = _RELEASE.search(text(server.get("version")) or (tag[1] if tag else ""))
    return found[1] if found else ""


def _named(server: Mapping[str, Any], origin: Mapping[str, Any], line: CommandLine, names: set[str]) -> str:
    """Return a name by which people know a server: of its unit or container, else of its model, else of its port."""
    known = text(origin.get("name")) or text(line["model_name"] if line.chosen("model_name") else "")
    known = told(known.removesuffix(".service"), LONGEST_NAME) or f"port {line['port']}"
    several = [known, f"{known} (pid {server.get('pid')})", *(f"{known} ({number})" for number in range(2, 1000))]
    name = next((each for each in several if each not in names), known)
    names.add(name)
    return name


def fleet(surveys: Sequence[Mapping[str, Any]]) -> list[Case]:
    """Return the servers of all hosts."""
    return [case for survey in surveys for case in cases(survey)]


def basename(path: str) -> str:
    """Return the last part of a path that is not empty."""
    return posixpath.basename(path.rstrip("/"))
