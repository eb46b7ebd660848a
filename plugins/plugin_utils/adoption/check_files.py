# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Findings on the files that flags name, and on the models and batches that they describe."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError

from ..diagnosis.reading import at, listed, mapping, text
from ..server import textproto_check
from ..server.textproto_rules import REFUSED_FIELDS
from .case import MESSAGES, Case, Model, basename
from .command_line import UNEXPANDED, rows
from .finding import Found, found

# A batch that has waited longer than a hundred others take is answered too late for anybody.
LONGEST_QUEUE = 1000
SLOW_MICROS = 1_000_000
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_READ_BY_ALL = ("file",)


def files(case: Case) -> Iterator[Found]:
    """Judge the files themselves."""
    for flag, value in case.line.given.items():
        if rows()[flag].get("unit") != "path" or not value or flag == "grpc_socket_path" or UNEXPANDED.search(value):
            continue
        path = _where(case, flag, value)
        if not value.startswith("/"):
            yield found("path.relative", flag=flag, path=value, cwd=text(case.server.get("cwd")) or "one directory")
        yield from _content(case, flag, path)


def _where(case: Case, flag: str, value: str) -> str:
    return text(case.file(flag).get("host_path")) or value


def _content(case: Case, flag: str, path: str) -> Iterator[Found]:
    if flag in MESSAGES:
        case.parsed  # noqa: B018  fills in the problems
        if flag in case.parsed:
            yield from _refused(case, flag, case.parsed[flag])
            return
        row = "file.broken" if case.file(flag).get("text") is not None else "file.unread"
        yield found(row, flag=flag, path=path, why=case.problems.get(flag, "was not read"))
    elif case.file(flag).get("error"):
        yield found("file.unread", flag=flag, path=path, why=case.file(flag)["error"])


def _refused(case: Case, flag: str, data: dict[str, Any]) -> Iterator[Found]:
    """Judge the content by the rules for what the collection writes."""
    if flag == "tensorflow_session_config_file":
        yield from _overwritten(flag, data)
        return
    try:
        textproto_check.check(_judged(flag, data), MESSAGES[flag])
    except WishError as error:
        where = f"{error.path} " if error.path else ""
        yield found("file.refused", error.remedy, flag=flag, problem=f"{where}{error.problem}")


def _judged(flag: str, data: dict[str, Any]) -> dict[str, Any]:
    """Return the content without what has findings of its own: base paths and labels."""
    if flag != "model_config_file":
        return data
    configs = [
        {name: value for name, value in each.items() if name not in ("version_labels",)}
        for each in listed(at(data, "model_config_list", "config"))
    ]
    return {**data, "model_config_list": {"config": configs}} if configs else data


def _overwritten(flag: str, data: dict[str, Any]) -> Iterator[Found]:
    for (message, name), (problem, remedy) in REFUSED_FIELDS.items():
        inner = data if message == "ConfigProto" else mapping(data.get("gpu_options"))
        if message in ("ConfigProto", "GPUOptions") and name in inner:
            yield found("file.idle", remedy, flag=flag, name=name, problem=problem)


def models(case: Case) -> Iterator[Found]:
    """Judge where models lie, and what is served of them."""
    unwell = case.line.of("bad", "help") or any(UNEXPANDED.search(each.base_path) for each in case.models)
    for model in case.models if not unwell else ():
        yield from _place(case, model)
        yield from _labels(case, model)
        yield from _serves(case, model)
    serves = case.server.get("serves")
    if case.running and not isinstance(serves, list):
        why = text(case.server.get("unread")) or text(mapping(serves).get("unread")) or "it was not asked"
        yield found("serves.unasked", why=why)


def _place(case: Case, model: Model) -> Iterator[Found]:
    scheme = _SCHEME.match(model.base_path)
    if scheme and scheme[1].lower() not in _READ_BY_ALL:
        yield found("path.scheme", model=model.name, path=model.base_path)
        return
    error, path = text(model.seen.get("error")), model.base_path
    if basename(path).isdecimal() and not model.versions:
        yield found("path.version", f"Name {path.rstrip('/').rpartition('/')[0] or '/'}", model=model.name, path=path)
    elif error and not model.versions:
        yield found("path.missing", model=model.name, path=path, why=error)
    elif model.seen and not model.chosen():
        yield found("path.empty", model=model.name, path=path)


def _labels(case: Case, model: Model) -> Iterator[Found]:
    if model.labels and not case.line["allow_version_labels_for_unavailable_models"]:
        yield found("labels.refused", model=model.name)
    for label, version in model.labels.items():
        if model.versions and version not in model.chosen():
            yield found("labels.nowhere", model=model.name, label=label, version=version)


def _serves(case: Case, model: Model) -> Iterator[Found]:
    told = [each for each in case.serves if each["model"] == model.name]
    loaded = sorted({each["version"] for each in told if each["state"] == "AVAILABLE"})
    for each in told:
        if each["error"]:
            state = each["state"] or "not available"
            yield found("serves.failed", model=model.name, version=each["version"], state=state, error=each["error"])
    if told and model.versions and loaded != model.chosen():
        yield found("serves.other", model=model.name, found=_numbers(loaded), wanted=_numbers(model.chosen()))


def _numbers(versions: list[int]) -> str:
    return ", ".join(map(str, versions)) or "none"


def batching(case: Case) -> Iterator[Found]:
    """Judge the batches that the server forms."""
    if not case.line.given.get("enable_batching"):
        return
    if not case.line["batching_parameters_file"]:
        yield found("batching.defaults")
        return
    settings = case.batching or {}
    waiting = settings["max_enqueued_batches"]
    if waiting > LONGEST_QUEUE:
        yield found("batching.unbounded", value=waiting, requests=waiting * settings["max_batch_size"])
    if settings["batch_timeout_micros"] >= SLOW_MICROS:
        timeout = settings["batch_timeout_micros"]
        yield found("batching.slow", value=timeout, seconds=f"{timeout / 1e6:g}")
