# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Which version answers a call, as long as no server is seen with another one.

An answer does not say by which version it was made. So the version is written into the path of the call before the
cache looks for it, and the server is asked by the same path: what is kept under a version was made by it. That holds
for calls that name no version only while every server would have taken this version by itself, which HAProxy asks all
of them on pages of their own. Until a server has said so, after a reload too, it counts as one that has moved on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from .schema import Pin, Watched


class Member(Protocol):
    """A server of a model, as gateway.servers.Serving is one."""

    @property
    def name(self) -> str:
        """Return the server's name in HAProxy."""

    def versions(self, model: str) -> set[int]:
        """Return the versions that it should serve."""

    def labelled(self, model: str) -> Mapping[str, int]:
        """Return the version of each label."""


_AVAILABLE = r'"version": *"{version}",\s*"state": *"AVAILABLE"'


def pins(model: str, members: Sequence[Member], watched: Sequence[Watched]) -> tuple[list[Pin], list[str]]:
    """Return the ways to call a model that the cache may answer, and sentences about those that it may not."""
    served = [member.versions(model) for member in members]
    everywhere = sorted(set.intersection(*served))
    newest = {max(versions, default=0) for versions in served}
    found = [_named(model, version) for version in everywhere]
    said = []
    if len(newest) == 1 and 0 not in newest:
        found.append(_newest(model, max(newest), everywhere, watched))
    else:
        said.append(
            f"cache of {model}: hosts differ in its newest version, so only calls that name a version are remembered"
        )
    labels, moving = _labels(model, members)
    found += [_label(model, label, version, watched) for label, version in labels.items()]
    said += [
        f"cache of {model}: the label {label} means different versions on different hosts, so its calls pass the cache"
        for label in moving
    ]
    return found, said


def _labels(model: str, members: Sequence[Member]) -> tuple[dict[str, int], list[str]]:
    """Return the labels that mean one version on all hosts, and the others."""
    each = [member.labelled(model) for member in members]
    names = sorted({name for labels in each for name in labels})
    meant = {name: {labels.get(name, 0) for labels in each} for name in names}
    same = {name: max(versions) for name, versions in meant.items() if len(versions) == 1}
    return same, [name for name in names if name not in same]


def _named(model: str, version: int) -> Pin:
    return {
        "asked": f"{model}/versions/{version}",
        "model": model,
        "version": version,
        "backend": "",
        "path": "",
        "moved": "",
        "servers": [],
    }


def _newest(model: str, version: int, served: Sequence[int], watched: Sequence[Watched]) -> Pin:
    """Return the calls without a version: these get the newest one that a server has."""
    planned = "|".join(map(str, served))
    lacks = rf'^(?![\s\S]*{_AVAILABLE.format(version=version)})[\s\S]*"AVAILABLE"'
    other = _AVAILABLE.format(version=rf'(?!(?:{planned})")[0-9]+')
    return {
        **_named(model, version),
        "asked": f"{model}/",
        "backend": f"moved_{model}",
        "path": f"/v1/models/{model}",
        "moved": f"{lacks}|{other}",
        "servers": list(watched),
    }


def _label(model: str, label: str, version: int, watched: Sequence[Watched]) -> Pin:
    """Return the calls by a label. A server's page of states takes labels and ignores them; its metadata do not."""
    return {
        **_named(model, version),
        "asked": f"{model}/labels/{label}",
        "backend": f"moved_{model}_label_{label}",
        "path": f"/v1/models/{model}/labels/{label}/metadata",
        "moved": rf'^(?![\s\S]*"model_spec"[^}}]*"version": *"{version}")',
        "servers": list(watched),
    }
