# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The options of template_tree, checked alike on the controller and the host, and the parcel of files."""

from __future__ import annotations

import base64
import grp
import json
import os
import pwd
import shlex
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..errors import WishError, shown
from .change import (
    NOBODY_YET,
    SAFE_NAME,
    SAFE_NAMES,
    Rendered,
    Rule,
    Rules,
    check_pattern,
    matcher,
    parse_mode,
    parse_secret,
)

STATE_PATH = "/var/lib/tfserving-fleet/trees"

# A name of 64 leaves room for the 21 characters that the name of a staging directory adds (255 is the limit).
_LONGEST_NAME = 64

# How much of a validator's output the error repeats: the first screenful tells what is wrong.
_OUTPUT = 2000

ARGUMENT_SPEC: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "src": {"type": "str", "default": "templates"},
    "dest": {"type": "path", "default": "/"},
    "expand": {"type": "dict", "default": {}},
    "attributes": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "pattern": {"type": "str", "required": True},
            "owner": {"type": "str"},
            "group": {"type": "str"},
            # Raw: as a string, an unquoted 0644 would arrive as the text "420" and pass for a mode.
            "mode": {"type": "raw"},
            "directory_mode": {"type": "raw"},
            # Raw: Ansible's own refusal of another type does not name the faulty entry of the list.
            "secret": {"type": "raw", "no_log": False},
        },
    },
    "validate": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "pattern": {"type": "str", "required": True},
            "command": {"type": "str", "required": True},
        },
    },
    "exclude": {"type": "list", "elements": "str", "default": []},
    "prune": {"type": "bool", "default": True},
    "state": {"type": "str", "default": "present", "choices": ["present", "absent", "reverted", "restored", "proven"]},
    "until_proven": {"type": "bool", "default": False},
    "keep": {"type": "dict", "default": {}},
    "state_path": {"type": "path", "default": STATE_PATH},
}


def check_options(options: Mapping[str, Any]) -> None:
    """Refuse mistakes that can be found without a host."""
    name = options["name"]
    if not SAFE_NAME.fullmatch(name) or len(name) > _LONGEST_NAME:
        problem = f"{shown(name)} cannot name a directory of the state"
        raise WishError("name", problem, f"use at most {_LONGEST_NAME} characters: {SAFE_NAMES}")
    for number, pattern in enumerate(options["exclude"]):
        check_pattern(pattern, f"exclude[{number}]")
    for number, option in enumerate(options["validate"]):
        check_pattern(option["pattern"], f"validate[{number}].pattern")
        _command(option["command"], f"validate[{number}].command")
    for number, option in enumerate(options["attributes"]):
        check_pattern(option["pattern"], f"attributes[{number}].pattern")
        for key in ("mode", "directory_mode"):
            parse_mode(option.get(key), f"attributes[{number}].{key}")
        parse_secret(option.get("secret"), f"attributes[{number}].secret")


def rules(attributes: Sequence[Mapping[str, Any]], expected: list[str] | None = None) -> Rules:
    """Return the rules for this host, with accounts looked up.

    An account that does not exist is refused or, in check mode, added to ``expected``: an earlier task of the same play
    would have created it. A run without root's rights leaves owners alone unless one is asked for.
    """
    root = 0 if os.geteuid() == 0 else -1
    found = []
    for number, option in enumerate(attributes):
        where = f"attributes[{number}]"
        found.append(
            Rule(
                option["pattern"],
                _account(option.get("owner"), _user, f"{where}.owner", expected),
                _account(option.get("group"), _group, f"{where}.group", expected),
                parse_mode(option.get("mode"), f"{where}.mode"),
                parse_mode(option.get("directory_mode"), f"{where}.directory_mode"),
                parse_secret(option.get("secret"), f"{where}.secret"),
            )
        )
    return Rules(tuple(found), root, root)


def secrecy(attributes: Sequence[Mapping[str, Any]]) -> Rules:
    """Return rules with nothing but secrecy: enough to tell which files not to show, on any host."""
    return Rules(
        tuple(
            Rule(option["pattern"], secret=parse_secret(option.get("secret"), f"attributes[{number}].secret"))
            for number, option in enumerate(attributes)
        )
    )


def _user(name: str) -> int:
    return pwd.getpwnam(name).pw_uid


def _group(name: str) -> int:
    return grp.getgrnam(name).gr_gid


def _account(name: str | None, look_up: Callable[[str], int], where: str, expected: list[str] | None) -> int | None:
    if name is None or name.isdecimal():
        return None if name is None else int(name)
    try:
        return look_up(name)
    except KeyError:
        error = WishError(where, f"the host has no account '{name}'", "let an earlier task create it")
        if expected is None:
            raise error from None
        expected.append(str(error))
        return NOBODY_YET


def validator(
    checks: Sequence[Mapping[str, str]], show: Callable[[str], str], execute: Callable[[list[str]], tuple[int, str]]
) -> Callable[[str, str, bool], None]:
    """Return a function that runs every command whose pattern matches a staged file.

    ``execute`` runs a command and returns its exit status and output, which may contain lines of the file: for a secret
    file it is not repeated.
    """

    def validate(path: str, staged: str, secret: bool) -> None:
        for number, check in enumerate(checks):
            if not matcher(check["pattern"])(path):
                continue
            command = _command(check["command"], f"validate[{number}].command")
            try:
                status, output = execute([part.replace("%s", staged) for part in command])
                if secret:
                    output = "what it printed is hidden, for the file is secret"
            except OSError as error:
                status, output = 127, f"{command[0]}: {error.strerror}"
            if status:
                said = output.replace(staged, show(path)).strip()[:_OUTPUT] or "it printed nothing"
                raise WishError(show(path), f"'{check['command']}' refuses it with status {status}: {said}", "")

    return validate


def _command(command: str, where: str) -> list[str]:
    try:
        parts = shlex.split(command)
    except ValueError as error:
        raise WishError(where, f"{shown(command)} is not a command ({error})", "close its quotes") from None
    if not any("%s" in part for part in parts[1:]):
        raise WishError(where, f"{shown(command)} does not name the file", "put %s where the file's path belongs")
    return parts


def pack(files: Mapping[str, Rendered], placeholders: Sequence[str]) -> str:
    """Pack all files into one ASCII string, so that they reach the host byte for byte in a single call."""
    header = {
        "placeholders": list(placeholders),
        "files": [
            {"path": path, "size": len(file.content), "source": file.source, "entries": dict(file.entries)}
            for path, file in files.items()
        ],
    }
    content = b"".join([json.dumps(header).encode(), b"\n", *(file.content for file in files.values())])
    return base64.b64encode(zlib.compress(content)).decode("ascii")


def unpack(parcel: str) -> tuple[dict[str, Rendered], list[str]]:
    """Unpack a parcel of ``pack``: return files by path, and the placeholders."""
    content = zlib.decompress(base64.b64decode(parcel))
    begin = content.index(b"\n") + 1
    header = json.loads(content[:begin])
    files = {}
    for entry in header["files"]:
        end = begin + entry["size"]
        files[entry["path"]] = Rendered(content[begin:end], entry["source"], entry["entries"])
        begin = end
    return files, header["placeholders"]
