# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The folder of an adoption on the controller: the inventory and the report. What exists is never overwritten."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError

from ..diagnosis.reading import listed, mapping
from . import check_place, folding, report
from .case import cases
from .document import adopted

VARIABLE = "adopt_dir"
# A survey tells much about a host.
MODE, FOLDER_MODE = 0o600, 0o700
REPORT = "adopt"


@dataclass(frozen=True)
class Published:
    """An adoption with its files."""

    document: Mapping[str, Any]
    folder: str
    files: list[str]
    text: str


def checked(folder: str) -> str:
    """Return the absolute path of a folder that does not exist yet, or raise WishError."""
    path = os.path.abspath(os.path.expanduser(folder))
    if os.path.lexists(path):
        raise WishError(
            VARIABLE, f"{path} exists already", f"move it away, or name another place with -e {VARIABLE}=..."
        )
    if not os.path.isdir(os.path.dirname(path)):
        raise WishError(VARIABLE, f"{os.path.dirname(path)} is no folder", "create it, or name another place")
    return path


def publish(
    folder: str, surveys: Mapping[str, Any], topologies: Mapping[str, Any], missing: Mapping[str, str]
) -> Published:
    """Judge the surveys, write the folder as a whole and return what is in it. Raises WishError."""
    path = checked(folder)
    document, wished = adopted(_plain(surveys), _plain(topologies), missing)
    data = json.dumps(document, indent=1, ensure_ascii=True, allow_nan=False) + "\n"
    files = {f"inventory/{name}": text for name, text in folding.files(wished).items()}
    taken = {host: _ports(survey) for host, survey in surveys.items()}
    files.update({f"beside/{name}": text for name, text in folding.beside(wished, taken).items()})
    files.update(
        {f"{REPORT}.json": data, f"{REPORT}.md": report.markdown(document), f"{REPORT}.html": report.page(document)}
    )
    try:
        _written(path, files)
    except OSError as error:
        raise WishError(VARIABLE, f"{path} cannot be written ({error.strerror})", "choose another place") from error
    names = sorted(files)
    told = f"{report.terminal(document)}\nWritten to {path}: {', '.join(names)}\n"
    return Published(document, path, [os.path.join(path, name) for name in names], told)


def _ports(survey: Mapping[str, Any]) -> set[int]:
    """Return the ports of a host that its servers use."""
    servers = [each for each in listed(survey.get("servers")) if isinstance(each, Mapping)]
    listening = [mapping(each).get("port") for server in servers for each in listed(server.get("listening"))]
    known = {port for case in cases(survey) for port in check_place.host_ports(case).values()}
    return known | {port for port in listening if isinstance(port, int)}


def _plain(data: Any) -> Any:
    """Return data of Ansible, whose texts and numbers have classes of their own, as those of JSON."""
    # What is no number in JSON is nothing.
    return json.loads(json.dumps(data, default=str), parse_constant=lambda _word: None)


def _written(path: str, files: Mapping[str, str]) -> None:
    """Write all files beside the place, then put the folder in it: there is no half of an adoption."""
    staged = tempfile.mkdtemp(prefix=f".{os.path.basename(path)}.", dir=os.path.dirname(path))
    try:
        for name, text in files.items():
            file = os.path.join(staged, name)
            os.makedirs(os.path.dirname(file), FOLDER_MODE, exist_ok=True)
            with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, MODE), "w", encoding="utf-8") as stream:
                stream.write(text)
        os.rename(staged, path)
    except BaseException:
        shutil.rmtree(staged, ignore_errors=True)
        raise
