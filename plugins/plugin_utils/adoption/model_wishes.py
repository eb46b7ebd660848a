# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The models of a host's old servers as ``tfserving_models``, and why one of them cannot be wished."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.disk.digests import is_sha256
from ansible_collections.tfserving.fleet.plugins.module_utils.models.names import MODEL_NAME

from ..diagnosis.reading import mapping, text
from ..wishes.checks import LABEL_NAME, LONGEST_MODEL
from .case import Case, Model, basename


@dataclass(frozen=True)
class Unwished:
    """What no wish can say: of which server, what it is, why, and what to do."""

    server: str
    what: str
    why: str
    remedy: str = ""


@dataclass
class Models:
    """The wishes for models, which of them each server serves, and what cannot be wished."""

    wishes: list[dict[str, Any]] = field(default_factory=list)
    served: dict[str, list[str]] = field(default_factory=dict)
    """The names of the models by the server's."""
    unwished: list[Unwished] = field(default_factory=list)
    notes: dict[tuple[str, ...], str] = field(default_factory=dict)


def models(cases: Sequence[Case]) -> Models:
    """Return the wishes for the models of a host's servers."""
    result, places = Models(), dict[str, tuple[str, dict[str, Any]]]()
    for case in cases:
        result.served[case.name] = []
        for model in case.models:
            wish = _wished(case, model, result)
            if wish is None:
                continue
            place, known = places.setdefault(model.name, (_place(model), wish))
            if place != _place(model) or known != wish:
                other = "other versions or labels of it" if place == _place(model) else f"one of this name from {place}"
                why = f"another server of the host serves {other}, and a host has one model of a name"
                remedy = "give one of them another name, or serve them from two hosts"
                result.unwished.append(Unwished(case.name, f"the model {model.name}", why, remedy))
                continue
            result.served[case.name].append(model.name)
    result.wishes = [wish for _place, wish in places.values()]
    return result


def _place(model: Model) -> str:
    return text(model.seen.get("host_path")) or model.base_path


def _wished(case: Case, model: Model, result: Models) -> dict[str, Any] | None:
    why, remedy = _refused(case, model)
    if why:
        result.unwished.append(Unwished(case.name, f"the model {model.name or '(without a name)'}", why, remedy))
        return None
    served = _served(case, model)
    uri = _place(model).rstrip("/")
    wish: dict[str, Any] = {"name": model.name}
    wish.update({"version": served[0]} if len(served) == 1 else {"versions": served})
    wish["source"] = {"type": "path", "remote": True, "uri": f"{uri}/{{version}}", **_checksums(model, served)}
    serve = _serve(model, served)
    return {**wish, "serve": serve} if serve else wish


def _refused(case: Case, model: Model) -> tuple[str, str]:
    """Return why a model cannot be wished, and what to do; empty texts if it can."""
    path = _place(model)
    if not MODEL_NAME.fullmatch(model.name) or len(model.name) > LONGEST_MODEL:
        return (
            "its name is no name of a model here",
            "rename it, with letters, digits, '.', '-' and '_'",
        )
    if "://" in path:
        return f"it is read from {path}", "have the controller fetch it, by a source of type s3, http or mlflow"
    if not path.startswith("/") or not text(model.seen.get("host_path")):
        return f"its base path {path} is not on the host", "copy it to the host, or to the controller"
    if "{" in path or "}" in path:
        return "its path holds braces", "move it"
    if basename(path).isdecimal() and not model.versions:
        return f"its base path {path} is the folder of a version", "name the folder above, and adopt it again"
    if not _served(case, model):
        return "no version of it is served", "see why, and adopt it again"
    return "", ""


def _served(case: Case, model: Model) -> list[int]:
    """Return the versions that are served: those that it said, else those that its policy picks."""
    told = [each["version"] for each in case.serves if each["model"] == model.name and each["state"] == "AVAILABLE"]
    return sorted({each for each in told or model.chosen() if each > 0})


def _checksums(model: Model, served: Sequence[int]) -> dict[str, Any]:
    known = mapping(model.seen.get("sha256"))
    found = {str(version): known[str(version)] for version in served if is_sha256(known.get(str(version)))}
    return {"sha256": found} if len(found) == len(served) else {}


def _serve(model: Model, served: Sequence[int]) -> dict[str, Any]:
    """Return the policy; nothing where one version is served, which is what a wish for one version means."""
    labels = {
        label: version for label, version in model.labels.items() if LABEL_NAME.fullmatch(label) and version in served
    }
    if labels or "specific" in model.policy:
        return {"versions": list(served), **({"labels": labels} if labels else {})} if len(served) > 1 or labels else {}
    if "all" in model.policy:
        return {"all": True}
    return {"latest": len(served)} if len(served) > 1 else {}
