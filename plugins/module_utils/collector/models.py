# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The versions of each instance: their states, which ones the plan wants, and their sizes on disk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..disk import plain_files
from . import sizes
from .host import Host, PartError
from .sample import Samples, sample
from .served import states

# A policy such as "the newest one" leaves the choice to the server: nothing is wanted by number then.
_SPECIFIC = {"model_version_policy": {"specific": {"versions": [(int, str)]}}}


def read(host: Host) -> Samples:
    """Yield the samples."""
    for instance in host.instances:
        for model, version in wanted(instance):
            yield sample("model_wanted", 1, serving_instance=instance["name"], model=model, version=version)
    for name, size in sizes.of(host).items():
        model, _slash, version = name.rpartition("/")
        yield sample("model_size_bytes", size, model=model, version=version)
    known = states(host)
    for name, found in known.items():
        for (model, version), state in found.items():
            yield sample("model_state", 1, serving_instance=name, model=model, version=version, state=state)
    silent = [each["name"] for each in host.instances if each["name"] not in known and host.process(each["name"])]
    if silent:
        raise PartError(f"{silent[0]} does not tell the states of its models")


def wanted(instance: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the versions that the plan names, with their models."""
    for model in instance["model_config"]["model_config_list"]["config"]:
        if plain_files.fits(model, _SPECIFIC):
            for version in model["model_version_policy"]["specific"]["versions"]:
                yield model["name"], str(version)
