# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Sends missing model versions from the controller to a host; the module does everything else."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from ansible import constants as C  # noqa: N812 - the name it has everywhere in Ansible
from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible_collections.tfserving.fleet.plugins.module_utils.disk import archives
from ansible_collections.tfserving.fleet.plugins.module_utils.disk.digests import compare, file_digest
from ansible_collections.tfserving.fleet.plugins.module_utils.disk.space import in_mib
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import RefusalError, WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.refusals import Refusals
from ansible_collections.tfserving.fleet.plugins.module_utils.saved_model import check as model_check
from ansible_collections.tfserving.fleet.plugins.module_utils.saved_model.check import Demands

MODULE = "tfserving.fleet.model_repository"
# What the module has options for. The plan's models and instances say more, which is of no concern to it.
MODEL_KEYS = ("name", "versions", "provided", "source", "serve", "contract", "keep", "path")
INSTANCE_KEYS = ("name", "models", "ports", "flags")


class ActionModule(ActionBase):
    """Asks the host what is missing, sends only that, and lets the module publish it."""

    _requires_connection = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the module's result: one call where the controller has nothing to give, two where it has."""
        super().run(tmp, task_vars)
        arguments = module_arguments(self._task.args)
        result = self._call(arguments, task_vars)
        needs = result.pop("needs", [])
        if not needs:
            return result
        sent: dict[str, dict[str, Any]] = {}
        try:
            refusals = Refusals()
            parcels = [refusals.check(self._prepare, need) for need in needs]
            refusals.stop()
            same = {need["key"]: {"same": True} for need, parcel in zip(needs, parcels) if parcel is None}
            if self._task.check_mode:
                return self._looked_at(result, {**arguments, "staged": same}, task_vars)
            room = result["room"]
            for need, parcel in zip(needs, parcels):
                if parcel is not None:
                    room -= _fits(need, parcel, room)
                    sent[need["key"]] = self._send(parcel, arguments.get("staging"))
            return self._call({**arguments, "staged": {**same, **sent}}, task_vars)
        except WishError as error:
            return {"failed": True, "changed": False, "msg": str(error), "problems": [str(error)]}
        finally:
            self._clean(sent)

    def _call(self, arguments: Mapping[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        result: dict[str, Any] = self._execute_module(
            module_name=MODULE, module_args=dict(arguments), task_vars=task_vars
        )
        return result

    def _looked_at(
        self, result: dict[str, Any], arguments: Mapping[str, Any], task_vars: dict[str, Any] | None
    ) -> dict[str, Any]:
        """Return the result of check mode, asked for again where sources turned out to be what is published."""
        if not arguments["staged"]:
            return result
        result = self._call(arguments, task_vars)
        result.pop("needs", None)
        return result

    def _prepare(self, need: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the file to send, checked; in check mode a directory is checked and not packed.

        None where it is what the host has published, or where what was published from it is all that is left of it.
        """
        path = self._loader.path_dwim(need["uri"])
        if need["published"] and not _has_other_content(path, need["published"]):
            return None
        try:
            demands = Demands.of_plain(need["demands"])
            parcel = prepare(path, C.DEFAULT_LOCAL_TMP, not self._task.check_mode, demands)
            if need["sha256"]:
                compare(need["sha256"], parcel["sha256"])
        except RefusalError as refusal:
            problem = f"{path} on the controller cannot be sent: {refusal.problem}"
            raise WishError(f"{need['where']}.{refusal.key}", problem, refusal.remedy) from refusal
        except OSError as error:
            problem = f"{path} on the controller cannot be sent: {error.strerror or error}"
            raise WishError(f"{need['where']}.source.uri", problem, _cure(error)) from error
        return parcel

    def _send(self, parcel: Mapping[str, Any], staging: str | None) -> dict[str, Any]:
        shell = self._connection._shell
        if not shell.tmpdir:
            self._make_tmp_path()
        target = shell.join_path(staging or shell.tmpdir, f"tfserving-model-{uuid.uuid4().hex}")
        self._transfer_file(parcel["file"], target)
        self._fixup_perms2((target,) if staging else (shell.tmpdir, target), execute=False)
        return {"path": target, "sha256": parcel["sha256"], "directory": parcel["directory"]}

    def _clean(self, sent: Mapping[str, Mapping[str, Any]]) -> None:
        """Leave nothing in a staging directory; Ansible's own temporary directory goes after the task."""
        for parcel in sent.values():
            if os.path.dirname(parcel["path"]) != self._connection._shell.tmpdir:
                self._low_level_execute_command(self._connection._shell.remove(parcel["path"]))


def module_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the module is called with: models and instances cut down to what it takes."""
    if "staged" in arguments:
        raise AnsibleError("staged: it is set by this action itself; remove it from the task")
    taken = dict(arguments)
    for option, keys in (("models", MODEL_KEYS), ("instances", INSTANCE_KEYS)):
        if _is_list_of_mappings(taken.get(option)):
            taken[option] = [{key: entry[key] for key in keys if key in entry} for entry in taken[option]]
    if _is_list_of_mappings(taken.get("models")):
        taken["models"] = [_without_digest(model) for model in taken["models"]]
    return taken


def _is_list_of_mappings(value: Any) -> bool:
    """Tell whether a value has the right shape; where not, the module's own argument check says what is wrong."""
    return isinstance(value, (list, tuple)) and all(isinstance(entry, Mapping) for entry in value)


def _without_digest(model: Mapping[str, Any]) -> Mapping[str, Any]:
    """Leave out what the plan says of an address in place of what may be secret in it."""
    if not isinstance(model.get("source"), Mapping):
        return model
    return {**model, "source": {key: value for key, value in model["source"].items() if key != "uri_digest"}}


def _cure(error: OSError) -> str:
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return "correct the path, or set remote for one on the host"
    return f"free space under {C.DEFAULT_LOCAL_TMP}" if error.errno == errno.ENOSPC else "make it readable"


def _fits(need: Mapping[str, Any], parcel: Mapping[str, Any], room: int) -> int:
    """Return what a parcel takes at the least, or refuse before the long way to a host that has no room."""
    size = os.path.getsize(parcel["file"])
    if size > room:
        problem = f"it needs {in_mib(size)} at least and {in_mib(room)} may be used on this host"
        raise WishError(f"{need['where']}.source", problem, "free space there, or keep fewer versions")
    return size


def _has_other_content(path: str, published: Sequence[str]) -> bool:
    try:
        return prepare(path, C.DEFAULT_LOCAL_TMP, False, None)["sha256"] not in published
    except RefusalError:
        return True
    except OSError:
        return False


def prepare(path: str, cache: str, pack: bool, demands: Demands | None) -> dict[str, Any]:
    """Check a source on the controller and return {file, sha256, directory}: once for all hosts of a run.

    ``cache`` is Ansible's temporary directory of this run, which all of its workers share. A directory is
    packed there unless ``pack`` is false; the content is not looked at without ``demands``. Raises RefusalError for
    what is no model, OSError for what is not there.
    """
    directory = os.path.isdir(path)
    asked = demands and demands.plain()
    key = hashlib.sha256(json.dumps([path, pack, asked, archives.stamps(path)]).encode()).hexdigest()
    packed = os.path.join(cache, f"tfserving-model-{key}.tar")
    note = f"{packed}.sha256"
    with _turn(f"{packed}.lock"):
        if not os.path.exists(note):
            digest = _examine(path, packed if pack else None, cache, demands)
            with open(note, "w", encoding="ascii") as file:
                file.write(digest)
        with open(note, encoding="ascii") as file:
            digest = file.read()
    return {"file": packed if directory else path, "sha256": digest, "directory": directory}


def _examine(path: str, packed: str | None, cache: str, demands: Demands | None) -> str:
    found = archives.survey(path)
    prefix = archives.model_root(found)
    if demands:
        archives.check_saved_model(found.below(prefix))
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            model_check.of_source(path, prefix, found, demands, scratch)
    if not os.path.isdir(path):
        return file_digest(path)
    source = os.path.join(path, prefix)
    return archives.pack(source, packed) if packed else archives.directory_digest(source)


@contextmanager
def _turn(lock: str) -> Iterator[None]:
    """Wait until no other worker of this run is at the same source."""
    with open(lock, "w", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
