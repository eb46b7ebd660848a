# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Model versions of a trial: the files of a real version under a new number, with some of them replaced.

A server reads what a version's directory says (`batching_params.pbtxt`) when it loads it. So other settings of that
kind are a new version in the trial's own base path, which the server picks up without a restart.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..disk import durable, folders, plain_files
from ..errors import WishError, kind, unknown_key
from ..saved_model import version_names
from ..serving import check as serving_check
from .place import Place
from .wish import CONFIG, LARGEST_FILE, files

KEYS = ("model", "version", "as", "files", "max_batch_size")
# One for each model of an instance; plans have a few dozens.
MOST = 64
# The proof sends one row more; larger batches are beyond what a request of a few megabytes holds.
MOST_ROWS = 1 << 20
# The server ignores directories whose names are no numbers.
_STAGED, _GONE = ".new", ".gone"


@dataclass(frozen=True)
class Version:
    """A version of a trial: ``real`` is the directory whose files it shares, ``number`` its own."""

    model: str
    real: str
    number: int
    files: Mapping[str, str]
    rows: int = 0
    """The largest request that it must take, by its files; 0 asks for no proof."""

    def folder(self, place: Place) -> str:
        """Return its directory."""
        return f"{base_path(place, self.model)}/{self.number}"


def base_path(place: Place, model: str) -> str:
    """Return the base path of a model's versions of the trial."""
    return f"{place.models}/{model}"


def wanted(
    options: Mapping[str, Any],
    instance: Mapping[str, Any],
    models: Sequence[Mapping[str, Any]],
    root: str,
    place: Place,
) -> list[Version]:
    """Return the versions that the module's ``options`` ask for. Raises WishError."""
    entries = options["versions"]
    if not entries:
        return []
    if len(entries) > MOST:
        raise WishError("versions", f"has {len(entries)} entries", f"pass at most {MOST}")
    flag = f"--model_config_file={place.folder}/{CONFIG}"
    if CONFIG not in options["files"] or flag not in options["arguments"]:
        remedy = f"pass files.{CONFIG} with the base paths below {place.models}, and {flag}"
        raise WishError("versions", "are where the server of this trial does not look", remedy)
    known = {each.model: each for each in serving_check.expectations(instance, models, root)}
    found = [_version(f"versions[{number}]", entry, known) for number, entry in enumerate(entries)]
    if len({each.model for each in found}) < len(found):
        raise WishError("versions", "name a model twice", "pass one version of each model: only the latest is served")
    return found


def _version(path: str, entry: Mapping[str, Any], known: Mapping[str, serving_check.Expectation]) -> Version:
    for key in entry:
        if key not in KEYS:
            raise unknown_key(path, key, "a version of a trial", KEYS)
    if entry.get("model") not in known:
        raise WishError(f"{path}.model", "is not a model of the instance", f"name one of {', '.join(sorted(known))}")
    expected = known[entry["model"]]
    number, new = (_number(f"{path}.{key}", entry.get(key)) for key in ("version", "as"))
    folders_of = {version_names.number(name): name for name in _names(expected.base_path)}
    if number not in folders_of:
        raise WishError(f"{path}.version", f"{number} is not in {expected.base_path}", "name a version that is there")
    replaced = entry.get("files") or {}
    if not isinstance(replaced, Mapping):
        raise WishError(f"{path}.files", f"is {kind(replaced)}", "write file names with their contents")
    files(replaced, f"{path}.files")
    rows = entry.get("max_batch_size") or 0
    if isinstance(rows, bool) or not isinstance(rows, int) or not 0 <= rows <= MOST_ROWS:
        raise WishError(f"{path}.max_batch_size", "is not the size of a batch", f"write 1 to {MOST_ROWS}")
    return Version(expected.model, f"{expected.base_path}/{folders_of[number]}", new, dict(replaced), rows)


def _number(path: str, value: Any) -> int:
    number = version_names.number(str(value)) if not isinstance(value, bool) else None
    if not number:
        raise WishError(path, "is not the number of a version", "write a number above 0, of 64 bits")
    return number


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def refuse_older(versions: Sequence[Version], place: Place) -> None:
    """Refuse numbers that the server would not load, since it serves a higher one."""
    for version in versions:
        served = serving_check.versions_on_disk(base_path(place, version.model))
        if any(number > version.number for number in served) or (version.number in served and not _is(version, place)):
            remedy = f"take a number above {max(served)}"
            raise WishError("versions", f"{version.model} has had version {max(served)} in this trial", remedy)


def missing(versions: Sequence[Version], place: Place) -> list[Version]:
    """Return the versions that are not there yet."""
    return [version for version in versions if not _is(version, place)]


def _is(version: Version, place: Place) -> bool:
    folder = version.folder(place)
    if {*_names(folder)} != {*_names(version.real), *version.files}:
        return False
    return all(_holds(f"{folder}/{name}", content) for name, content in version.files.items())


def _holds(path: str, content: str) -> bool:
    try:
        return plain_files.read(path, LARGEST_FILE) == content.encode("utf-8", "surrogatepass")
    except OSError:
        return False


def add(version: Version, place: Place) -> None:
    """Put a version where the server finds it, whole from the first moment. Raises OSError."""
    staged = f"{base_path(place, version.model)}/{_STAGED}"
    shutil.rmtree(staged, ignore_errors=True)
    folders.make(staged)
    for name in _names(version.real):
        if name not in version.files:
            # By links, since a model may have gigabytes; the unit sees both ends at the same paths.
            os.symlink(f"{version.real}/{name}", f"{staged}/{name}")
    for name, content in version.files.items():
        durable.write(f"{staged}/{name}", content.encode("utf-8", "surrogatepass"))
    os.rename(staged, version.folder(place))


def forget_older(versions: Sequence[Version], place: Place) -> None:
    """Remove the versions that the server has left for later ones."""
    for version in versions:
        base = base_path(place, version.model)
        for name in _names(base):
            if name.isdecimal() and name != str(version.number):
                shutil.rmtree(f"{base}/{_GONE}", ignore_errors=True)
                os.rename(f"{base}/{name}", f"{base}/{_GONE}")
        for name in (_GONE, _STAGED):
            shutil.rmtree(f"{base}/{name}", ignore_errors=True)


def served(instance: Mapping[str, Any], versions: Sequence[Version], place: Place) -> dict[str, Any]:
    """Return the plan's entry of an instance with the base paths of the trial: the latest version there, no labels."""
    own = {version.model for version in versions}
    configs = instance.get("model_config", {}).get("model_config_list", {}).get("config") or []
    changed = [
        {"name": each["name"], "base_path": base_path(place, each["name"])} if each["name"] in own else each
        for each in configs
    ]
    return {**instance, "model_config": {"model_config_list": {"config": changed}}}
