# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A version of a registered model, from an MLflow server that passes on its artifacts.

The server's answers are JSON of its REST API 2.0. A version's artifacts are where its source says, which may name a
logged model, a run or another version; in the end they must lie behind the server itself (mlflow-artifacts:).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote, urlencode, urlsplit

from ansible_collections.tfserving.fleet.plugins.module_utils.disk.archive_entries import shown
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import RefusalError
from ansible_collections.tfserving.fleet.plugins.module_utils.visible_text import told
from ansible_collections.tfserving.fleet.plugins.module_utils.web import address, fetching

from . import credentials as logins
from . import mlmodel
from .found import MOST_FILES, File, Found, Server, checked, denied, require_plain, saved_model

API = "api/2.0"
# A copy of a version names another one, which may be a copy as well.
MOST_STEPS = 5
# Folders of a model, each of which is a question of its own.
MOST_FOLDERS = 1000
READY = "READY"
# How the server says that something does not exist; of an alias it says so with status 400.
ABSENT = {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "NOT_FOUND"}

_MOST_SAID = 200


@dataclass(frozen=True)
class Registry:
    """An MLflow server, and the header that lets the controller in."""

    base: str
    headers: Mapping[str, str]
    server: Server

    def get(self, call: str, absent: str = "", **query: str) -> dict[str, Any]:
        """Return the server's answer to a question; ``absent`` says what it means if it knows of no such thing."""
        url = f"{self.base}/{API}/{call}?{urlencode(query)}"
        try:
            body = self.server.ask(url, self.headers)
        except fetching.StatusError as refusal:
            raise _refusal(refusal, absent) from refusal
        found = _json(body)
        if found is None:
            problem = f"{address.public(url)} answers with something else than MLflow's JSON"
            raise RefusalError(problem, "check that uri is the address of the MLflow server", "source.uri")
        return found

    def artifact(self, path: str) -> tuple[str, Mapping[str, str]]:
        """Return address and headers of a file."""
        return f"{self.base}/{API}/mlflow-artifacts/artifacts/{quote(path)}", self.headers


def told_of(source: Mapping[str, Any], version: int) -> str:
    """Return what a version is called in messages; it also tells it from all others."""
    return f"version {version} of {source['model']} at {source['uri'].rstrip('/')}"


def look(source: Mapping[str, Any], version: int, credentials: Mapping[str, str], timeout: float) -> Found:
    """Return what the registry holds of a version. An alias must point to this version."""
    registry = Registry(source["uri"].rstrip("/"), logins.header(credentials), Server(timeout))
    notes = _check_alias(registry, source["model"], source.get("alias"), version)
    root = _root(registry, _artifacts_of(registry, source["model"], str(version)))
    listed = dict(_listed(registry, root))
    text = registry.server.ask(*registry.artifact(f"{root}/{mlmodel.NAME}")) if mlmodel.NAME in listed else None
    folder = mlmodel.folder(listed, text)
    files = checked(
        File(path.removeprefix(folder), size, lambda path=path: registry.artifact(f"{root}/{path}"))  # type: ignore[misc]
        for path, size in listed.items()
        if path.startswith(folder)
    )
    return Found(saved_model(files), notes=notes)


def _check_alias(registry: Registry, model: str, alias: str | None, version: int) -> tuple[str, ...]:
    if not alias:
        return ()
    absent = f"{model} has no alias {alias} there"
    answer = registry.get("mlflow/registered-models/alias", absent, name=model, alias=alias)
    found = _version(_part(answer, "model_version"), model)
    if found != str(version):
        problem = f"{alias} is version {found} of {model} now, and the wish is for {version}"
        remedy = f"write version: {found}, or leave out alias to take {version}"
        raise RefusalError(problem, remedy, "source.alias")
    return (f"{alias} of {model} is version {found}",)


def _artifacts_of(registry: Registry, model: str, version: str) -> str:
    """Return where the artifacts of a version are, as MLflow writes it."""
    absent = f"{model} has no version {version} there"
    entry = _part(registry.get("mlflow/model-versions/get", absent, name=model, version=version), "model_version")
    if _version(entry, model) != version:
        raise _odd("the version of another number")
    status = str(entry.get("status") or READY)
    if status != READY:
        problem = f"the registry says {told(status, _MOST_SAID)} of it"
        raise RefusalError(problem, "wait until it is registered, or register it again", "source.model")
    answer = registry.get("mlflow/model-versions/get-download-uri", absent, name=model, version=version)
    return _string(answer, "artifact_uri")


def _root(registry: Registry, uri: str) -> str:
    """Return the path below mlflow-artifacts: that a uri comes to, as it is asked for in the API."""
    for _step in range(MOST_STEPS):
        parts = address.parts(uri)
        scheme, path = (parts.scheme, parts.path) if parts else ("", "")
        if parts and scheme == "mlflow-artifacts":
            if parts.netloc and parts.netloc != urlsplit(registry.base).netloc:
                problem = f"its artifacts are at another server, {told(parts.netloc.rpartition('@')[2], _MOST_SAID)}"
                raise RefusalError(problem, "give the address of that server as uri", "source.uri")
            return _below(unquote(path))
        if scheme == "runs":
            uri = _of_run(registry, path)
        elif scheme == "models":
            uri = _of_model(registry, path)
        else:
            raise _elsewhere(uri, scheme)
    raise RefusalError("its source names another version, and that one again", "register it once more", "source.model")


def _of_run(registry: Registry, path: str) -> str:
    run, _, inner = path.lstrip("/").partition("/")
    answer = registry.get("mlflow/runs/get", f"its run {told(run, _MOST_SAID)} is gone", run_id=run)
    base = _string(_part(_part(answer, "run"), "info"), "artifact_uri")
    return f"{base.rstrip('/')}/{inner}" if inner else base


def _of_model(registry: Registry, path: str) -> str:
    """Return where a logged model (models:/m-ID) or another registered version (models:/NAME/7) is."""
    name, _, inner = path.lstrip("/").partition("/")
    if re.fullmatch(r"m-[0-9a-f]{8,64}", name):
        answer = registry.get(f"mlflow/logged-models/{name}", f"its logged model {name} is gone")
        base = _string(_part(_part(answer, "model"), "info"), "artifact_uri")
        return f"{base.rstrip('/')}/{inner}" if inner else base
    if re.fullmatch(r"[0-9]{1,19}", inner):
        return _artifacts_of(registry, unquote(name), inner)
    raise _odd("a source that names neither a logged model nor a version")


def _below(path: str) -> str:
    """Return a path of the artifact store, which must not lead out of it."""
    found = path.strip("/")
    if not found:
        raise _odd("an empty path of artifacts")
    require_plain(found)
    return found


def _elsewhere(uri: str, scheme: str) -> RefusalError:
    """Return the refusal of artifacts that the server does not pass on."""
    if scheme == "s3":
        problem = f"its artifacts are in a bucket, {told(address.public(uri), _MOST_SAID)}"
        remedy = "use type s3 with that uri and the folder of the SavedModel, or start mlflow server with "
        return RefusalError(problem, f"{remedy}--artifacts-destination", "source.type")
    kind = f"{scheme}:" if re.fullmatch(r"[a-z0-9.+-]{2,20}", scheme) else "a path of another machine"
    problem = f"its artifacts are not behind the server but at {kind}"
    return RefusalError(problem, "start mlflow server with --artifacts-destination and log it again", "source.uri")


def _listed(registry: Registry, root: str) -> Iterator[tuple[str, int]]:
    """Yield path and size of every file below a path of the artifact store."""
    left, folders, seen = [""], 0, 0
    while left:
        inner = left.pop()
        folders += 1
        asked = f"{root}/{inner}".rstrip("/")
        entries = registry.get("mlflow-artifacts/artifacts", "its artifacts are gone", path=asked).get("files", [])
        if not isinstance(entries, list):
            raise _odd("a listing that is none")
        for entry in entries:
            seen += 1
            if seen > MOST_FILES or folders > MOST_FOLDERS:
                raise RefusalError(f"it lists more than {MOST_FILES} files", "log the model alone", "source.model")
            path, is_folder, size = _entry(entry, inner, asked)
            if is_folder:
                left.append(path)
            else:
                yield path, size


def _entry(entry: Any, inner: str, asked: str) -> tuple[str, bool, int]:
    """Return path below the model, whether it is a folder, and size of an entry: servers list names, or whole paths."""
    if not isinstance(entry, Mapping) or not isinstance(entry.get("path"), str):
        raise _odd("a listing without paths")
    name = entry["path"].removeprefix(f"{asked}/")
    path = f"{inner}/{name}".lstrip("/")
    if "/" in name:
        raise RefusalError(f"it lists the odd name {shown(entry['path'])}", "check that server", "source.uri")
    require_plain(path)
    if entry.get("is_dir"):
        return path, True, 0
    size = str(entry.get("file_size", 0))  # 64 bits are text in JSON made of protobuf, and zero is left out
    if not re.fullmatch(r"[0-9]{1,15}", size):
        raise _odd("a file without a size")
    return path, False, int(size)


def _version(entry: Mapping[str, Any], model: str) -> str:
    if entry.get("name") != model:
        raise _odd("another model's version")
    return _string(entry, "version", r"[0-9]{1,19}")


def _part(answer: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = answer.get(key)
    if not isinstance(found, Mapping):
        raise _odd(f"an answer without {key}")
    return found


def _string(answer: Mapping[str, Any], key: str, pattern: str = r"[^\x00-\x1f]{1,4096}") -> str:
    found = answer.get(key)
    if isinstance(found, int) and not isinstance(found, bool):
        found = str(found)
    if not isinstance(found, str) or not re.fullmatch(pattern, found):
        raise _odd(f"an answer without {key}")
    return found


def _odd(what: str) -> RefusalError:
    return RefusalError(f"the registry answers with {what}", "check that uri is the address of MLflow", "source.uri")


def _json(body: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(body)
        # Half of a surrogate pair is no text, and can be in no address and no name of a file.
        json.dumps(found, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _refusal(refusal: fetching.StatusError, absent: str) -> RefusalError:
    """Return a refusal in the server's own words."""
    said = _json(refusal.said) or {}
    if absent and said.get("error_code") in ABSENT:
        return RefusalError(absent, "correct the wish, or register it first", "source.model")
    words = said.get("message")
    told_words = f" ({told(words, _MOST_SAID)})" if isinstance(words, str) and words else ""
    refused = denied(refusal)
    return RefusalError(f"{refused.problem}{told_words}", refused.remedy, refused.key)
