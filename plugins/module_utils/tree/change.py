# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The changes that a run of template_tree will make: patterns and rules, the comparison with the host, the report.

Nothing here writes. Check mode prints a plan, a run carries it out: both agree because it is the same plan.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean

from ..errors import WishError, shown
from .files import ABSENT, Host, Seen

# The modes that root's default umask of 022 gives, and that ansible.builtin.template sets on Debian.
FILE_MODE = 0o644
DIRECTORY_MODE = 0o755

# A name becomes part of paths on the host: no separators, no leading dot or dash.
SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*", re.ASCII)
SAFE_NAMES = "letters, digits and _ . -, a letter or digit first"

# An id that no account has: a file whose owner does not exist yet always counts as changed.
NOBODY_YET = -2

_MODE = re.compile(r"[0-7]{3,4}", re.ASCII)
_GLOB = re.compile(r"\*\*/|\*\*|\*|\?|\[!?\]?[^]]*\]|.", re.ASCII | re.DOTALL)


@functools.cache
def matcher(pattern: str) -> Callable[[str], bool]:
    """Compile a pattern: ``*`` and ``?`` stay within a path part, ``**`` crosses, ``[abc]`` is one of these letters."""
    crossing = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    parts = []
    for token in _GLOB.findall(pattern):
        if token in crossing:
            parts.append(crossing[token])
        elif len(token) > 1:
            inner = re.sub(r"([\\\[&~|])", r"\\\1", token[1:-1])
            parts.append(f"[^/{inner[1:]}]" if inner.startswith("!") else f"(?!/)[{inner}]")
        else:
            parts.append(re.escape(token))
    compiled = re.compile("".join(parts), re.DOTALL)
    return lambda path: compiled.fullmatch(path) is not None


def check_pattern(pattern: str, where: str) -> None:
    """Refuse a pattern that could never match."""
    if not pattern or pattern.startswith("/"):
        raise WishError(where, f"{shown(pattern)} matches no file", "leave out the leading /")
    try:
        matcher(pattern)
    except re.error as error:
        raise WishError(where, f"{shown(pattern)} is not a pattern ({error})", "correct its brackets") from None


def parse_mode(value: object, where: str) -> int | None:
    """Parse a quoted octal mode such as '0640'; return None if none is given."""
    if value is None:
        return None
    if not isinstance(value, str) or not _MODE.fullmatch(value):
        raise WishError(where, f"{shown(value)} is not a mode", "write it in octal and in quotes, such as '0644'")
    return int(value, 8)


def parse_secret(value: object, where: str) -> bool:
    """Parse a boolean in any of Ansible's spellings; return False if none is given."""
    if value is None:
        return False
    try:
        return bool(boolean(value, strict=True))
    except TypeError:
        raise WishError(where, f"{shown(value)} is not a boolean", "write true or false") from None


@dataclass(frozen=True)
class Rule:
    """Owner and modes for the paths that a pattern matches; None keeps a default.

    ``secret`` keeps the contents of these files out of all output.
    """

    pattern: str
    uid: int | None = None
    gid: int | None = None
    mode: int | None = None
    directory_mode: int | None = None
    secret: bool = False

    def matches(self, path: str) -> bool:
        """Return whether the pattern matches this file."""
        return matcher(self.pattern)(path)

    def matches_directory(self, path: str) -> bool:
        """Return whether the pattern matches this directory; ``a/**`` matches ``a`` as well."""
        return self.matches(path) or self.matches(path + "/")


@dataclass(frozen=True)
class Rules:
    """All rules of a tree, and the owner of paths that no rule sets one for (-1: the user of the run)."""

    rules: tuple[Rule, ...] = ()
    uid: int = -1
    gid: int = -1

    def file(self, path: str, content: bytes) -> Seen:
        """Return the wanted state of a file; only the first rule that matches counts."""
        rule = self._rule(path)
        return self._seen("file", content, rule, rule.mode, FILE_MODE)

    def secret(self, path: str) -> bool:
        """Return whether the contents of the file must not be shown."""
        return self._rule(path).secret

    def directory(self, path: str) -> Seen:
        """Return the wanted state of a directory that the tree creates."""
        rule = next((rule for rule in self.rules if rule.matches_directory(path)), Rule(path))
        return self._seen("directory", b"", rule, rule.directory_mode, DIRECTORY_MODE)

    def foreign_directory(self, path: str) -> Seen | None:
        """Return the wanted state of an existing directory: None (left alone) unless a rule spells out its path."""
        for rule in self.rules:
            if rule.pattern == path and rule.directory_mode is not None:
                return self._seen("directory", b"", rule, rule.directory_mode, DIRECTORY_MODE)
        return None

    def _rule(self, path: str) -> Rule:
        return next((rule for rule in self.rules if rule.matches(path)), Rule(path))

    def _seen(self, kind: str, content: bytes, rule: Rule, mode: int | None, default: int) -> Seen:
        uid = self.uid if rule.uid is None else rule.uid
        gid = self.gid if rule.gid is None else rule.gid
        return Seen(kind, content, default if mode is None else mode, uid, gid)


NO_RULES = Rules()


@dataclass(frozen=True)
class Rendered:
    """A file as the controller rendered it: its bytes, its template, and the entries its path was expanded with."""

    content: bytes
    source: str = ""
    entries: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Change:
    """One path and its state before and after; neither content is ever shown if it is ``secret``."""

    path: str
    before: Seen
    after: Seen
    entries: Mapping[str, str] = field(default_factory=dict)
    source: str = ""
    secret: bool = False


@dataclass
class Plan:
    """All changes of a run. Paths are relative to dest; ``files`` and ``directories`` are the resulting manifest."""

    changes: list[Change] = field(default_factory=list)
    make: list[Change] = field(default_factory=list)  # directories, parents first
    adjust: list[Change] = field(default_factory=list)  # directories that stay
    drop: list[Change] = field(default_factory=list)  # directories, children first
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    directories: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    revertable: bool = True

    @property
    def empty(self) -> bool:
        """Return whether the host already is as wanted."""
        return not (self.changes or self.make or self.adjust or self.drop)


def digest(content: bytes) -> str:
    """Return the checksum that identifies a file written by the tree."""
    return hashlib.sha256(content).hexdigest()


def parents(paths: Iterable[str]) -> list[str]:
    """Return every directory on the way to the paths, dest itself ("") first and parents before their children."""
    found: set[str] = set()
    for path in paths:
        parts = path.split("/")[:-1]
        found.update("/".join(parts[:count]) for count in range(len(parts) + 1))
    return sorted(found, key=lambda path: path.split("/") if path else [])


def plan_tree(
    host: Host, wanted: Mapping[str, Rendered], rules: Rules, manifest: Mapping[str, Any], prune: bool
) -> Plan:
    """Compare the tree with the host; an empty tree with ``prune`` removes everything in the manifest."""
    plan = Plan(files=dict(manifest["files"]))
    _refuse_twins(host, wanted)
    for path in sorted(wanted):
        _plan_file(plan, host, path, wanted[path], rules)
    for path in sorted(set(plan.files) - set(wanted)):
        _plan_orphan(plan, host, path, prune, rules)
    own = {path for path in manifest["directories"] if host.see_directory(path).kind == "directory"}
    _plan_directories(plan, host, parents(wanted), rules, own)
    plan.drop = _emptied(plan, host, own - set(parents(plan.files)) - set(parents(wanted)))
    made = {change.path for change in plan.make}
    plan.directories = sorted((own | made) - {change.path for change in plan.drop})
    return plan


def plan_reverted(
    host: Host, manifest: Mapping[str, Any], load: Callable[[str], bytes], rules: Rules = NO_RULES
) -> Plan:
    """Plan to undo the last run that changed something, from its record; ``load`` returns a file it saved.

    Of the rules only ``secret`` counts; owners and modes come from the record.
    """
    plan = Plan(files=manifest["files"], directories=manifest["directories"], revertable=False)
    if not manifest.get("revertable"):
        return plan
    steps, previous = manifest["steps"], manifest["previous"]
    for step in steps["changes"]:
        path, after = step["path"], recalled(step["before"], load)
        before = host.see(path)
        _refuse_obstacle(host, path, before)
        if not before.same(after):
            known = (step, manifest["files"].get(path, {}), previous["files"].get(path, {}))
            secret = rules.secret(path) or any(_was_secret(record) for record in known)
            plan.changes.append(Change(path, before, after, step["entries"], secret=secret))
    lost = {step["path"]: recalled(step["before"]) for step in steps["drop"]}
    needed = parents(change.path for change in plan.changes if change.after.kind != "absent")
    for path in sorted({*needed, *lost}, key=lambda path: path.split("/")):
        if host.see_directory(path) == ABSENT:
            plan.make.append(Change(path, ABSENT, lost.get(path, Rules().directory(path))))
    for step in steps["adjust"]:
        before, after = host.see_directory(step["path"]), recalled(step["before"])
        if before.kind == "directory" and not before.same(after):
            plan.adjust.append(Change(step["path"], before, after))
    plan.drop = _emptied(plan, host, {step["path"] for step in steps["make"]})
    plan.files, plan.directories = _still_secret(previous["files"], plan.changes), previous["directories"]
    return plan


def remembered(seen: Seen, kept: str = "") -> dict[str, Any]:
    """Return a state in the form that records keep; ``kept`` is the name under which a file's bytes were saved."""
    if seen.kind == "absent":
        return {"kind": "absent"}
    record = {"kind": seen.kind, "mode": f"{seen.mode:04o}", "uid": seen.uid, "gid": seen.gid}
    if seen.kind == "link":
        # Latin-1 maps any byte to one character: a link's target need not be valid text in any encoding.
        record["target"] = seen.content.decode("latin-1")
    if kept:
        record["kept"] = kept
    return record


def recalled(record: Mapping[str, Any], load: Callable[[str], bytes] | None = None) -> Seen:
    """Return the state that ``remembered`` recorded; without ``load`` a file's bytes are left out."""
    if record["kind"] == "absent":
        return ABSENT
    content = record.get("target", "").encode("latin-1")
    if load and "kept" in record:
        content = load(record["kept"])
    return Seen(record["kind"], content, int(record["mode"], 8), record["uid"], record["gid"])


def report(plan: Plan, host: Host) -> dict[str, Any]:
    """Return the lists that template_tree reports, with absolute paths."""
    paths = {host.path(change.path) for change in plan.changes + plan.adjust}
    by: dict[str, dict[str, list[str]]] = {}
    for change in plan.changes:
        for placeholder, entry in change.entries.items():
            by.setdefault(placeholder, {}).setdefault(entry, []).append(host.path(change.path))
    return {
        "changed_files": sorted(paths),
        "created": [host.path(change.path) for change in plan.changes if change.before == ABSENT],
        "removed": [host.path(change.path) for change in plan.changes if change.after == ABSENT],
        "changed_by": by,
    }


def merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Return two reports merged into one."""
    lists = {key: sorted({*one[key], *other[key]}) for key in ("changed_files", "created", "removed")}
    by: dict[str, dict[str, list[str]]] = {}
    for part in (one["changed_by"], other["changed_by"]):
        for placeholder, entries in part.items():
            known = by.setdefault(placeholder, {})
            for entry, paths in entries.items():
                known[entry] = sorted({*known.get(entry, []), *paths})
    return {**lists, "changed_by": by}


def _plan_file(plan: Plan, host: Host, path: str, rendered: Rendered, rules: Rules) -> None:
    before, after = host.see(path), rules.file(path, rendered.content)
    _refuse_obstacle(host, path, before)
    known = plan.files.get(path)
    was, secret = _was_secret(known), rules.secret(path)
    same = before.content == after.content or (known and digest(after.content) == known["sha256"])
    stays = was and same
    if not before.same(after):
        plan.changes.append(Change(path, before, after, rendered.entries, rendered.source, was or secret))
        known = {"sha256": digest(rendered.content)}
    if known:
        # A file written as secret stays so until its contents are replaced, whatever the rules now say.
        mark = {"secret": True} if secret or stays else {}
        plan.files[path] = {"sha256": known["sha256"], "entries": dict(rendered.entries), **mark}


def _still_secret(files: Mapping[str, Any], changes: Iterable[Change]) -> dict[str, Any]:
    """Return a manifest with every file marked whose secret contents a revert brings back."""
    secret = {change.path for change in changes if change.secret}
    return {path: {**known, "secret": True} if path in secret else known for path, known in files.items()}


def _was_secret(known: Mapping[str, Any] | None) -> bool:
    # Records from before the introduction of secrets do not mention them.
    return bool(known and known.get("secret", False))


def _plan_orphan(plan: Plan, host: Host, path: str, prune: bool, rules: Rules) -> None:
    before, known = host.see(path), plan.files[path]
    if before.kind not in ("file", "link"):
        # Already gone, or replaced by something that the tree never creates: no longer the tree's.
        del plan.files[path]
    elif prune:
        del plan.files[path]
        secret = _was_secret(known) or rules.secret(path)
        plan.changes.append(Change(path, before, ABSENT, known["entries"], secret=secret))
        if before.kind == "link" or digest(before.content) != known["sha256"]:
            plan.warnings.append(
                f"{host.path(path)} was edited on the host and leaves with the tree; state=reverted brings it back"
            )


def _plan_directories(plan: Plan, host: Host, paths: list[str], rules: Rules, own: set[str]) -> None:
    for path in paths:
        before = host.see_directory(path)
        if before == ABSENT:
            plan.make.append(Change(path, ABSENT, rules.directory(path)))
            continue
        after = rules.directory(path) if path in own else rules.foreign_directory(path)
        if after and not before.same(after):
            plan.adjust.append(Change(path, before, after))


def _emptied(plan: Plan, host: Host, candidates: set[str]) -> list[Change]:
    """Return the candidates that the plan's removals leave empty, children first."""
    gone = {change.path for change in plan.changes if change.after == ABSENT}
    drop = []
    for path in sorted(candidates, key=lambda path: path.count("/") + bool(path), reverse=True):
        before = host.see_directory(path)
        left = {f"{path}/{name}" if path else name for name in host.names(path)} - gone
        if before.kind == "directory" and not left:
            gone.add(path)
            drop.append(Change(path, before, ABSENT))
    return drop


def _refuse_obstacle(host: Host, path: str, seen: Seen) -> None:
    if seen.kind == "directory":
        raise WishError(host.path(path), "is a directory where the tree has a file", "remove it or exclude the file")
    if seen.kind == "special":
        problem = "is a device, socket or pipe where the tree has a file"
        raise WishError(host.path(path), problem, "remove it or exclude the file")


def _refuse_twins(host: Host, wanted: Iterable[str]) -> None:
    known: dict[tuple[int, int, str], str] = {}
    for path in sorted(wanted):
        identity = host.identity(path)
        twin = known.setdefault(identity, path) if identity else path
        if twin != path:
            problem = f"is the same file as {host.path(twin)} on this host"
            raise WishError(host.path(path), problem, "keep one of the two templates")
