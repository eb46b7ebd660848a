#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Publishes model versions for TensorFlow Serving; everything that touches the disk is in model_store."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: model_repository
short_description: Publish model versions for TensorFlow Serving
version_added: 0.1.0
description:
  - Brings every wanted version of every model onto the host, in one remote call where nothing is missing.
  - A version is fetched, compared with its checksum, unpacked beside its place, checked for being a whole SavedModel
    and brought to the disk; only then it appears, by one rename. The server, which polls the directory once a second,
    never sees half a version.
  - A version that has served is immutable. A wish for another checksum under the same number is refused.
  - A version that never served, such as a broken copy, is replaced where the wish has another checksum, or where its
    O(models[].source.type=path) without a checksum has other content. Only as long as no server has answered for the
    version its source is compared with it.
  - All versions of all models are made ready before the first of them appears, so that a source that fails leaves
    the host as it was.
  - Versions put there by hand are adopted as they are, as long as they are whole; as for the server, C(00000007) is
    version 7.
  - Whole means that C(saved_model.pb) is a message whose lengths add up, has a graph with the tags that the servers
    load, and lies beside the assets and the variables that it needs, the shards being as long as their index says.
    C(saved_model.pbtxt) is taken as it is. C(saved_model.cpb) and C(model.tflite) are refused.
options:
  root:
    description: Directory with one base path a model.
    type: path
    default: /var/lib/tfserving/models
  models:
    description:
      - The models of the plan. Keys other than those below are of no concern here and are ignored, except within
        O(models[].source), where an unknown key is refused.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the model; its base path is C(root/name). It is made even while it holds no version,
          because one missing base path stops the server from finding versions of any model.
        type: str
        required: true
      versions:
        description: Versions that must be on the host, whole numbers from 1.
        type: list
        elements: raw
        required: true
      provided:
        description: Those of O(models[].versions) that O(models[].source) provides. By default all, where its address
          has C({version}), or the only one.
        type: list
        elements: raw
      source:
        description: Where missing versions come from.
        type: dict
        required: true
        suboptions:
          type:
            description: V(http) for an archive on an HTTP or HTTPS server, V(path) for an archive or a directory.
            type: str
            choices: [path, http]
            required: true
          uri:
            description:
              - Address or path; C({version}) in it stands for the version.
              - An archive is a tar (plain, gzip, bzip2, xz) or a zip, recognised by its content. It holds one
                SavedModel, at its top or in a directory; links, special files and names that lead out of it are
                refused, modes and owners are not taken over.
            type: str
            required: true
          sha256:
            description:
              - Checksum of the archive, as one string for the only version provided or as a map from version to string.
              - For a directory, the SHA-256 of the sorted listing of its files; inside the directory that holds
                C(saved_model.pb) this prints it,
                C(find . -type f -printf '%P\0' | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum).
            type: raw
          remote:
            description: Whether a path is one on the host; otherwise it is on the controller and is sent only when
              the host lacks the version.
            type: bool
            default: false
          headers:
            description: Request headers for this source, over those of O(headers).
            type: dict
            default: {}
      serve:
        description:
          - "The serving policy: C({latest: N}), C({all: true}) or C({versions: [], labels: {}})."
          - No version that it names is removed.
        type: dict
        default: {latest: 1}
      contract:
        description:
          - The signature that callers rely on, as C(tfserving_models[].contract) has it. A version that departs from it
            is not published, and one that is on the host and about to be served is refused.
        type: dict
      path:
        description: Where this model stands in the user's variables, for messages; by default
          C(tfserving_models[N]).
        type: str
      keep:
        description:
          - How many of the newest versions stay on disk. Older ones are removed unless they are wanted, named by
            O(models[].serve), or held by a server of O(instances) in any state but C(END).
          - Where one of these servers cannot be asked, nothing of the model is removed. Without this option
            nothing is removed at all.
        type: int
  sources:
    description:
      - JSON text with C(uri) and C(headers) by the name of a model, which come before those of O(models[].source).
      - What of an address may be secret, such as a user or a query, belongs here, as O(models[].source.uri) is shown.
    type: str
    default: "{}"
  instances:
    description: The instances of the plan, of which O(instances[].models) and C(ports.rest) tell whom to ask before a
      version is removed. Other keys are ignored.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the instance.
        type: str
        required: true
      models:
        description: Names of the models it serves.
        type: list
        elements: str
        default: []
      ports:
        description: Its ports by name.
        type: dict
        default: {}
      flags:
        description: Its flags, of which C(enable_batching) and C(saved_model_tags) are read. A model that cannot be
          served in batches is refused where C(enable_batching) is set.
        type: dict
        default: {}
  owner:
    description: Owner of everything published. Not the server's user, so that the server can read its models and
      never write them.
    type: str
    default: root
  group:
    description: Group of everything published. To hide models from other users of the host, name the server's group
      here and set O(directory_mode=0750) and O(file_mode=0640).
    type: str
    default: root
  directory_mode:
    description: Mode of directories, octal.
    type: str
    default: "0755"
  file_mode:
    description: Mode of files, octal. Files of a SavedModel are data; none is executable.
    type: str
    default: "0644"
  headers:
    description: Request headers for all downloads. They are sent to the server in the address only, not to one that
      it redirects to.
    type: dict
    default: {}
  download_timeout:
    description:
      - Seconds of silence after which a download is given up.
      - A transfer of less than 64 KiB a second is given up as well, after its first minute.
    type: int
    default: 60
  min_free_mb:
    description: MiB of the file system that publishing leaves free.
    type: int
    default: 1024
  staging:
    description: Directory on the host in which archives from the controller wait to be unpacked; the connecting user
      must be able to write to it. By default Ansible's own temporary directory, which for large models may be too
      small.
    type: path
  prune:
    description: Whether versions that O(models[].keep) no longer covers are removed. Publish with V(false), bring the
      servers in line, then call again, and what the servers have let go of is removed by the same run.
    type: bool
    default: true
  state:
    description: Versions are only ever published by this module; what O(models[].keep) no longer covers goes by itself.
    type: str
    choices: [present]
    default: present
  staged:
    description: What the action plugin has sent from the controller. Not for use in playbooks.
    type: dict
    default: {}
author:
  - tfserving.fleet contributors
attributes:
  check_mode:
    description: Says what would be published and removed, and downloads nothing. Sources given by path are checked.
    support: full
  diff_mode:
    description: Shows the versions on disk, before and after, by model.
    support: full
notes:
  - Works only while no other run publishes to the same O(root) on the host; a second one is refused.
"""

EXAMPLES = r"""
- name: Publish two versions of a model and keep three for rollback
  tfserving.fleet.model_repository:
    models:
      - name: ranker
        versions: [6, 7]
        source:
          type: http
          uri: https://models.example.com/ranker/{version}.tar.gz
          sha256:
            6: 2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae
            7: fcde2b2edba56bf408601fb721fe9b5c338d10ee429ea04fae5511b68fbf8fb9
        keep: 3

- name: Publish a directory of the controller
  tfserving.fleet.model_repository:
    models:
      - name: ranker
        versions: [7]
        source:
          type: path
          uri: exports/ranker/7
"""

RETURN = r"""
published:
  description: Versions published by this run; sha256 is that of the archive, or of the listing of a directory, and is
    null in check mode where it is not wished.
  returned: success
  type: list
  elements: dict
  sample: [{model: ranker, version: 7, sha256: fcde2b2edba56bf408601fb721fe9b5c338d10ee429ea04fae5511b68fbf8fb9}]
removed:
  description: Versions removed by this run.
  returned: success
  type: list
  elements: dict
  sample: [{model: ranker, version: 3}]
kept:
  description: Versions beyond O(models[].keep) that stayed, with the reason.
  returned: success
  type: list
  elements: dict
  sample: [{model: ranker, version: 4, reason: a server holds it}]
notes:
  description: What a person should know though nothing failed.
  returned: success
  type: list
  elements: str
models:
  description: Versions on disk by model, after the run.
  returned: success
  type: dict
  sample: {ranker: [5, 6, 7]}
problems:
  description: Every reason for a refusal, one sentence each.
  returned: when refused
  type: list
  elements: str
"""

import grp
import json
import os
import pwd
import re
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Callable

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tfserving.fleet.plugins.module_utils.disk import archives
from ansible_collections.tfserving.fleet.plugins.module_utils.disk.archives import RefusalError
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.host import accounts
from ansible_collections.tfserving.fleet.plugins.module_utils.models import fetch as downloads
from ansible_collections.tfserving.fleet.plugins.module_utils.models import wanted as wanted_models
from ansible_collections.tfserving.fleet.plugins.module_utils.models.store import Attributes, Store
from ansible_collections.tfserving.fleet.plugins.module_utils.models.wanted import Request, Wanted
from ansible_collections.tfserving.fleet.plugins.module_utils.refusals import Refusals, WishErrors
from ansible_collections.tfserving.fleet.plugins.module_utils.serving import client as serving_client

SOURCE = {
    "type": {"type": "str", "choices": ["path", "http"], "required": True},
    "uri": {"type": "str", "required": True},
    "sha256": {"type": "raw"},
    "remote": {"type": "bool", "default": False},
    "headers": {"type": "dict", "default": {}, "no_log": True},
}
MODEL = {
    "name": {"type": "str", "required": True},
    "versions": {"type": "list", "elements": "raw", "required": True},
    "provided": {"type": "list", "elements": "raw"},
    "source": {"type": "dict", "options": SOURCE, "required": True},
    "serve": {"type": "dict", "default": {"latest": 1}},
    "contract": {"type": "dict"},
    "keep": {"type": "int"},
    "path": {"type": "str"},
}
INSTANCE = {
    "name": {"type": "str", "required": True},
    "models": {"type": "list", "elements": "str", "default": []},
    "ports": {"type": "dict", "default": {}},
    "flags": {"type": "dict", "default": {}},
}
ARGUMENTS = {
    "root": {"type": "path", "default": "/var/lib/tfserving/models"},
    "models": {"type": "list", "elements": "dict", "options": MODEL, "required": True},
    # One text: of a mapping, Ansible would mask each value, be it "1", wherever it stands in the result.
    "sources": {"type": "str", "default": "{}", "no_log": True},
    "instances": {"type": "list", "elements": "dict", "options": INSTANCE, "default": []},
    "owner": {"type": "str", "default": "root"},
    "group": {"type": "str", "default": "root"},
    "directory_mode": {"type": "str", "default": "0755"},
    "file_mode": {"type": "str", "default": "0644"},
    "headers": {"type": "dict", "default": {}, "no_log": True},
    "download_timeout": {"type": "int", "default": 60},
    "min_free_mb": {"type": "int", "default": 1024},
    "staging": {"type": "path"},
    "prune": {"type": "bool", "default": True},
    "state": {"type": "str", "choices": ["present"], "default": "present"},
    "staged": {"type": "dict", "default": {}},
}


@dataclass
class Report:
    """What the module returns, while it grows."""

    changed: bool = False
    published: list[dict[str, Any]] = field(default_factory=list)
    removed: list[dict[str, Any]] = field(default_factory=list)
    kept: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def execute(params: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """Do what the module does; raises WishError (WishErrors for several), changes nothing in check mode.

    Where versions have to come from the controller first, returns at once with `needs` and nothing done.
    """
    store = Store(params["root"], _attributes(params), params["min_free_mb"] * archives.MIB)
    sources = json.loads(params["sources"])
    given = [{**model, "source": {**model["source"], **sources.get(model["name"], {})}} for model in params["models"]]
    wanted = given if params["prune"] else [{**model, "keep": None} for model in given]
    models = wanted_models.read_wanted(wanted, params["instances"])
    before = {model.name: store.versions(model.name) for model in models}
    report = Report()
    if not check_mode:
        # First of all: what a refusal below leaves as it is has served all the same.
        _remember_proven(store, models)
    missing = _missing(models, store, params, report)
    needs = [_need(request) for request in missing if request.place == "controller"]
    needs = [need for need in needs if need["key"] not in params["staged"]]
    if check_mode:
        after = _preview(store, models, missing, before, report)
    elif needs:
        return {"changed": False, "needs": needs, "room": store.room()}
    else:
        after = _apply(store, models, params, report)
    report.changed = bool(report.changed or report.published or report.removed)
    result = {**vars(report), "models": after, "diff": _diff(params["root"], before, after)}
    return {**result, "needs": needs} if needs else result


def _missing(models: list[Wanted], store: Store, params: Mapping[str, Any], report: Report) -> list[Request]:
    """Return all versions to be published; raises WishErrors with everything that stands in the way."""
    refusals = Refusals()
    asked: dict[str, set[int]] = {}

    def available(model: Wanted) -> set[int]:
        if model.name not in asked:
            asked[model.name] = _available(model)
        return asked[model.name]

    differs = partial(_differs, staged=params["staged"])
    check = partial(wanted_models.missing_versions, store=store, available=available, differs=differs)
    found = [refusals.check(check, model, default=([], [])) for model in models]
    refusals.stop()
    report.notes = [note for _missing, notes in found for note in notes]
    return [request for missing, _notes in found for request in missing]


def _available(model: Wanted) -> set[int]:
    """Return the versions of a model that a server of this host answers for."""
    states = [serving_client.version_states(port, model.name) or {} for port in model.ports]
    return {version for found in states for version, state in found.items() if state == "AVAILABLE"}


def _differs(request: Request, staged: Mapping[str, Any]) -> bool:
    """Tell whether a version that never served is to be replaced: not where its source still is what it came from."""
    if request.sha256:
        return True
    if request.place == "host":
        return downloads.has_other_content(request)
    return not (staged.get(request.key) or {}).get("same", False)


def _need(request: Request) -> dict[str, Any]:
    wanted = {"key": request.key, "uri": request.uri, "sha256": request.sha256, "where": request.model.where}
    published = [request.published[key] for key in ("sha256", "tree") if request.published.get(key)]
    return {**wanted, "published": [] if request.sha256 else published, "demands": request.model.demands.plain()}


# --- check mode --------------------------------------------------------------------------------------------


def _preview(
    store: Store, models: list[Wanted], missing: list[Request], before: dict[str, list[int]], report: Report
) -> dict[str, list[int]]:
    refusals = Refusals()
    for request in missing:
        if request.place == "host":
            refusals.check(downloads.inspect, request, store)
        report.published.append({"model": request.model.name, "version": request.version, "sha256": request.sha256})
    refusals.stop()
    places = [store.root, *(store.base(model.name) for model in models)]
    report.changed = any(map(store.drifted, places)) or any(store.leftovers(model.name) for model in models)
    after = {}
    for model in models:
        coming = [request.version for request in missing if request.model is model]
        on_disk = sorted({*before[model.name], *coming})
        removed = _removable(model, on_disk, report)
        after[model.name] = [version for version in on_disk if version not in removed]
    return after


# --- change ------------------------------------------------------------------------------------------------


def _apply(store: Store, models: list[Wanted], params: Mapping[str, Any], report: Report) -> dict[str, list[int]]:
    if store.drifted(store.root):
        store.ensure(store.root)
        report.changed = True
    with store.lock():
        # Once more, now that nobody else can change what it finds.
        missing = _missing(models, store, params, report)
        fresh = [store.base(model.name) for model in models if not os.path.isdir(store.base(model.name))]
        try:
            _prepare(store, models, report)
            _publish(store, missing, params, report)
        except BaseException:
            for base in fresh:
                with suppress(OSError):
                    os.rmdir(base)
            raise
        for model in models:
            for version in _removable(model, store.versions(model.name), report):
                store.remove(model.name, version)
        return {model.name: store.versions(model.name) for model in models}


def _remember_proven(store: Store, models: list[Wanted]) -> None:
    """Record which versions serve now. It is no change of the host: nothing but this module reads it."""
    proven = [(model.name, version) for model in models for version in _newly_proven(store, model)]
    if proven:
        with store.lock():
            for name, version in proven:
                store.prove(name, version)


def _newly_proven(store: Store, model: Wanted) -> list[int]:
    markers = {version: store.marker(model.name, version) for version in store.versions(model.name)}
    unproven = {version for version, marker in markers.items() if marker and not marker.get("proven")}
    return sorted(unproven & _available(model)) if unproven else []


def _prepare(store: Store, models: list[Wanted], report: Report) -> None:
    """Make the base paths and clear away what a dead run has left in them."""
    for model in models:
        if store.drifted(store.base(model.name)):
            store.ensure(store.base(model.name))
            report.changed = True
        for path in store.leftovers(model.name):
            store.sweep(path)
            report.changed = True


def _publish(store: Store, missing: list[Request], params: Mapping[str, Any], report: Report) -> None:
    """Make all versions ready, then let them appear."""
    with ExitStack() as staging:
        staged = []
        for request in missing:
            need = downloads.Need()
            with downloads.refusing(request, store, need):
                place = staging.enter_context(store.staging(request.model.name, request.version))
                staged.append(downloads.stage(store, request, place, params, need))
        for one in staged:
            model, version = one.request.model.name, one.request.version
            with downloads.refusing(one.request, store, downloads.Need()):
                if one.request.published:
                    store.remove(model, version)
                store.publish(model, version, one.tree, one.record)
            sha256 = one.record["sha256"] or one.record["tree"]
            report.published.append({"model": model, "version": version, "sha256": sha256})
            if one.request.place == "http" and not one.request.sha256:
                report.notes.append(f"{model}: version {version} was fetched unchecked, its sha256 is {sha256}")


def _removable(model: Wanted, on_disk: list[int], report: Report) -> list[int]:
    """Return the versions beyond `keep` that nobody needs; reports them and those that stay."""
    beyond = wanted_models.surplus(on_disk, model.keep, {*model.versions, *wanted_models.served(model.serve, on_disk)})
    reasons = _reasons_to_stay(model, beyond) if beyond else {}
    report.kept += [{"model": model.name, "version": version, "reason": reasons[version]} for version in reasons]
    removable = [version for version in beyond if version not in reasons]
    report.removed += [{"model": model.name, "version": version} for version in removable]
    return removable


def _reasons_to_stay(model: Wanted, beyond: list[int]) -> dict[int, str]:
    held = [(port, serving_client.live_versions(port, model.name)) for port in model.ports]
    for port, live in held:
        if live is None:
            asked = f"the server on REST port {port} cannot be asked" if port else "a server of it has no REST port"
            return dict.fromkeys(beyond, asked)
    return {version: "a server holds it" for version in beyond if any(version in live for _port, live in held)}


def _attributes(params: Mapping[str, Any]) -> Attributes:
    return Attributes(
        _id(params["owner"], "owner", lambda name: pwd.getpwnam(name).pw_uid),
        _id(params["group"], "group", lambda name: grp.getgrnam(name).gr_gid),
        _mode(params["directory_mode"], "directory_mode"),
        _mode(params["file_mode"], "file_mode"),
    )


def _id(name: str, option: str, find: Callable[[str], int]) -> int:
    try:
        found = int(name) if name.isdecimal() else find(name)
    except KeyError:
        raise WishError(option, f"{name} is not on this host", "create it first, or name another") from None
    if found in accounts.DYNAMIC:
        problem = f"{name} is lent by systemd to a service while it runs, and to another one later (id {found})"
        raise WishError(option, problem, "name one that is there to stay")
    return found


def _mode(mode: str, option: str) -> int:
    if not re.fullmatch(r"0?[0-7]{3}", mode):
        raise WishError(option, f"{mode!r} is not a mode", "write three octal digits in quotes, such as '0755'")
    return int(mode, 8)


def _diff(root: str, before: dict[str, list[int]], after: dict[str, list[int]]) -> dict[str, str]:
    def lines(models: dict[str, list[int]]) -> str:
        return "".join(f"{name}: {', '.join(map(str, models[name])) or 'none'}\n" for name in sorted(models))

    return {"before_header": root, "after_header": root, "before": lines(before), "after": lines(after)}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    try:
        result = execute(module.params, module.check_mode)
    except WishErrors as errors:
        module.fail_json(msg=str(errors), problems=[WishError.__str__(error) for error in errors.errors])
    except (WishError, RefusalError) as error:
        module.fail_json(msg=str(error), problems=[str(error)])
    except OSError as error:
        module.fail_json(msg=f"{error.filename or module.params['root']}: {error.strerror}; look at that host's files")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
