# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Puts kernel settings in force on the running host, records the original values, and restores them.

Every value is read back after a write: what counts is what the kernel accepted, not what was written.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..disk import plain_files
from ..disk.record import Record
from .names import proc_path

# Already as wanted; written now; unknown to this kernel; not accepted by the kernel; contradicted by a file that the
# boot reads later, so that its value would return with the next boot.
KEPT, SET, MISSING, REFUSED, OVERRULED = "kept", "set", "missing", "refused", "overruled"

SCHEMA = 1
_SHAPE = {"schema?": int, "originals": {str: {"path": plain_files.is_path, "value": str}}}

# systemd-sysctl's folders, strongest first: of files with the same name only the strongest counts. All files are then
# read in the order of their names, and the last one to set a key wins (sysctl.d(5)).
SYSCTL_FOLDERS = ("etc/sysctl.d", "run/sysctl.d", "usr/local/lib/sysctl.d", "usr/lib/sysctl.d", "lib/sysctl.d")

_LINE = re.compile(r"-?\s*([^=\s]+)\s*=\s*(.*?)\s*")


@dataclass
class Outcome:
    """The outcome of one setting. ``key`` is its name or, for sysfs, its path; values are as the kernel prints them."""

    key: str
    wanted: str
    before: str | None
    after: str | None
    status: str
    detail: str = ""

    def report(self) -> dict[str, Any]:
        """Return it as plain data."""
        return dict(vars(self))

    def __str__(self) -> str:
        return f"{self.key}: {self.detail}"


class Kernel:
    """The settings of a running kernel below ``root``, which tests point elsewhere."""

    def __init__(self, root: str = "/", dry: bool = False) -> None:
        self.root = root
        self.dry = dry

    def path(self, path: str) -> str:
        """Return the location of ``path`` below the root."""
        return os.path.join(self.root, path.lstrip("/"))

    def read(self, path: str) -> str | None:
        """Return a value with single blanks, of a choice ("always [madvise] never") the chosen one; None if absent."""
        try:
            text = " ".join(Path(self.path(path)).read_text(encoding="utf-8").split())
        except OSError:
            return None
        chosen = re.search(r"\[(\S+)\]", text)
        return chosen[1] if chosen else text

    def write(self, path: str, value: str) -> str:
        """Write a value; return the kernel's reason for refusing it, or an empty text."""
        try:
            # Unbuffered, so that a refusal comes from the write and not when the interpreter closes the file.
            with open(self.path(path), "wb", buffering=0) as file:
                file.write(f"{value}\n".encode())
        except OSError as error:
            return f"the kernel refuses {value!r} ({os.strerror(error.errno or 0)})"
        return ""

    def put(self, key: str, path: str, value: str) -> Outcome:
        """Bring one value in line."""
        before = self.read(path)
        if before is None:
            return Outcome(key, value, None, None, MISSING, "this kernel or machine has no such setting")
        if before == value:
            return Outcome(key, value, before, before, KEPT)
        # Root may do whatever the file system allows, so this is not about permissions.
        if not os.access(self.path(path), os.W_OK):
            return Outcome(key, value, before, before, REFUSED, "is read-only here, as in a container")
        if self.dry:
            return Outcome(key, value, before, value, SET)
        refusal = self.write(path, value)
        after = self.read(path)
        if not refusal and after != value:
            refusal = f"the kernel was given {value!r} and has {after!r}"
        return Outcome(key, value, before, after, REFUSED if refusal else SET, refusal)

    def matching(self, pattern: str) -> list[str]:
        """Return the paths that match a pattern: wildcards, and one list of numbers in braces."""
        braces = re.search(r"\{([\d,]+)\}", pattern)
        numbers = braces[1].split(",") if braces else [""]
        single = [pattern.replace(braces[0], number) if braces else pattern for number in numbers]
        root = self.root.rstrip("/")
        return sorted(path.removeprefix(root) for each in single for path in glob.glob(self.path(each)))


class Originals:
    """The host's values before the first change, by key of a setting: path and value."""

    def __init__(self, path: str) -> None:
        remedy = "move it away and run again; what is set now then counts as original"
        self._record = Record(path, _SHAPE, remedy, schema=SCHEMA)
        self.originals: dict[str, dict[str, str]] = (self._record.load() or {"originals": {}})["originals"]
        self._saved = dict(self.originals)

    def note(self, key: str, path: str, value: str) -> None:
        """Record a value unless one is already recorded."""
        self.originals.setdefault(key, {"path": path, "value": value})

    def save(self) -> None:
        """Write the record durably if it has changed; without originals there is none."""
        if self.originals != self._saved:
            self._record.save({"schema": SCHEMA, "originals": self.originals} if self.originals else {})
            self._saved = dict(self.originals)


def wanted_values(kernel: Kernel, settings: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return key, path and value of every setting; a pattern without a match stays as it is, and is missing."""
    found = [(each["name"], f"/proc/sys/{proc_path(each['name'])}", each["value"]) for each in settings["sysctl"]]
    for each in settings["sysfs"]:
        found += [(path, path, each["value"]) for path in kernel.matching(each["path"]) or [each["path"]]]
    return found


def apply(kernel: Kernel, record: Originals, settings: Mapping[str, Any], boot_file: str) -> list[Outcome]:
    """Bring the kernel in line with ``settings`` and return each outcome.

    Settings of an earlier run that are no longer wanted get their original values back.

    :param boot_file: the file that holds the settings for the next boot; files read after it override it.
    """
    later = overruling(kernel.root, os.path.basename(boot_file))
    wanted = wanted_values(kernel, settings)
    outcomes = forget(kernel, record, {key for key, _path, _value in wanted})
    if not kernel.dry:
        # Before the first change: an interrupted run must not leave a host without its original values.
        for key, path, value in wanted:
            before = kernel.read(path)
            if before is not None and before != value and key not in later:
                record.note(key, path, before)
        record.save()
    for key, path, value in wanted:
        if key in later and later[key][0] != value:
            theirs, file = later[key]
            detail = f"{file} sets it to {theirs} and is read later at boot; remove it there, or set it to null here"
            outcomes.append(Outcome(key, value, kernel.read(path), kernel.read(path), OVERRULED, detail))
        else:
            outcomes.append(kernel.put(key, path, value))
    if not kernel.dry:
        # A value that is the original again, refused or no longer changed, needs no restoring.
        for outcome in outcomes:
            if outcome.key in record.originals and record.originals[outcome.key]["value"] == outcome.after:
                del record.originals[outcome.key]
        record.save()
    return outcomes


def forget(kernel: Kernel, record: Originals, keep: Iterable[str] = ()) -> list[Outcome]:
    """Restore the original values of all settings but those in ``keep``, and remove them from the record."""
    outcomes = []
    for key in [key for key in record.originals if key not in set(keep)]:
        original = record.originals[key]
        outcome = kernel.put(key, original["path"], original["value"])
        outcomes.append(outcome)
        if outcome.status != REFUSED:
            del record.originals[key]
    if not kernel.dry:
        record.save()
    return outcomes


def insists(require: str, settings: Mapping[str, Any]) -> bool:
    """Tell whether a refused setting is an error: as wished, or where the kernel is the host's own."""
    return bool(settings["live"]["required"]) if require == "auto" else require == "true"


def take_back(kernel: Kernel, outcomes: Iterable[Outcome], paths: Mapping[str, str]) -> None:
    """Undo what a run has set, because another part of it failed."""
    for outcome in outcomes:
        if outcome.status == SET and outcome.before is not None:
            kernel.write(paths[outcome.key], outcome.before)


def told(outcomes: Iterable[Outcome]) -> list[str]:
    """Return a sentence for everything that is not in force; settings with the same reason share a sentence."""
    keys: dict[str, list[str]] = {}
    for outcome in outcomes:
        if outcome.detail:
            keys.setdefault(outcome.detail, []).append(outcome.key)
    return [f"{', '.join(names)}: {detail}" for detail, names in keys.items()]


def overruling(root: str, name: str) -> dict[str, tuple[str, str]]:
    """Return the sysctl settings of all files that a boot reads after ``name``: value and file by key."""
    files: dict[str, str] = {}
    for folder in reversed(SYSCTL_FOLDERS):
        files.update({os.path.basename(path): path for path in glob.glob(os.path.join(root, folder, "*.conf"))})
    found = {}
    for file in (files[each] for each in sorted(files) if each > name):
        for key, value in _assignments(file):
            found[key] = value, "/" + os.path.relpath(file, root)
    return found


def _assignments(file: str) -> list[tuple[str, str]]:
    try:
        lines = Path(file).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    matches = [_LINE.fullmatch(line.strip()) for line in lines if not line.lstrip().startswith(("#", ";"))]
    return [(proc_path(match[1]).replace("/", "."), " ".join(match[2].split())) for match in matches if match]


def low(kernel: Kernel, settings: Mapping[str, Any]) -> list[str]:
    """Return a sentence for every limit of this kernel that is too low."""
    found = []
    for each in settings.get("least", ()):
        value = kernel.read(f"/proc/sys/{proc_path(each['name'])}")
        if value is not None and value.isdecimal() and int(value) < int(each["value"]):
            remedy = f"set kernel_tuning_sysctl: {{{each['name']}: {each['value']}}}"
            found.append(f"{each['name']}: is {value}, serving needs {each['value']}; {remedy}")
    return found
