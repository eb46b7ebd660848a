# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Renders a tree of templates on the controller and hands all of it to the host in one module call."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ansible import constants
from ansible.errors import AnsibleError
from ansible.module_utils.common.text.converters import to_bytes
from ansible.plugins.action import ActionBase
from ansible.template import generate_ansible_template_vars, trust_as_template
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError, nearest, shown
from ansible_collections.tfserving.fleet.plugins.module_utils.tree.change import (
    SAFE_NAME,
    SAFE_NAMES,
    Rendered,
    matcher,
    parents,
)
from ansible_collections.tfserving.fleet.plugins.module_utils.tree.options import (
    ARGUMENT_SPEC,
    check_options,
    pack,
    secrecy,
)
from jinja2 import TemplateSyntaxError

SUFFIX = ".j2"

# What the host is told besides the files; the rest of the options (and the variables in them) stay here.
_FOR_THE_HOST = ("name", "dest", "attributes", "validate", "prune", "state", "state_path", "until_proven", "keep")

# The defaults of ansible.builtin.template where they differ from those of Jinja.
_OVERRIDES = {"trim_blocks": True, "lstrip_blocks": False, "newline_sequence": "\n"}

_PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}", re.ASCII)

_UNDEFINED = re.compile(r"'(\w+)' is undefined|object of type '\w+' has no attribute '(\w+)'", re.ASCII)

# Where something stands, such as environment.TF_CPP_MIN_LOG_LEVEL or a[0].b; never an assignment or other text.
_KEYS = re.compile(r"[A-Za-z_][A-Za-z0-9_.\[\]]*", re.ASCII)

_TO_SEE_MORE = "try the template with harmless values and without 'secret'"

Entry = Mapping[str, Any]

# By path on the host: the template it comes from, and the entry of each placeholder in the template's path.
Destinations = dict[str, tuple[str, dict[str, Entry]]]

# Given a template, what to do with the errors of rendering it.
Careful = Callable[[str], contextlib.AbstractContextManager[object]]


def sources(root: str) -> Iterator[str]:
    """Yield every file below a directory by its path relative to it, in order."""
    for folder, folders, names in os.walk(root, onerror=_unreadable):
        folders.sort()
        for name in folders:
            if os.path.islink(os.path.join(folder, name)):
                path = os.path.join(folder, name)
                raise WishError(path, "is a link to a directory, which a tree does not follow", "make it a directory")
        for name in sorted(names):
            path = os.path.join(folder, name)
            if not os.path.isfile(path):
                raise WishError(path, "is neither a file nor a link to one", "remove it from the tree")
            yield os.path.relpath(path, root)


def expansions(source: str, expand: Mapping[str, list[Entry]]) -> Iterator[tuple[str, dict[str, Entry]]]:
    """Yield each path that a template stands for, with the entry of every placeholder in it."""
    path = source[: -len(SUFFIX)] if source.endswith(SUFFIX) else source
    placeholders = sorted(set(_PLACEHOLDER.findall(path)))
    for placeholder in placeholders:
        if placeholder not in expand:
            remedy = nearest(placeholder, expand) or "add it there or rename the file"
            raise WishError(source, f"'expand' says nothing of {{{placeholder}}}", remedy)
    for chosen in itertools.product(*(expand[placeholder] for placeholder in placeholders)):
        entries = dict(zip(placeholders, chosen))
        yield _named(path, entries), entries


def _named(path: str, entries: Mapping[str, Entry]) -> str:
    return _PLACEHOLDER.sub(lambda found: str(entries[found[1]]["name"]), path)


def check_expand(expand: Mapping[str, Any]) -> None:
    """Refuse entries whose names cannot stand in a path."""
    for placeholder, entries in expand.items():
        where = f"expand.{placeholder}"
        if not _PLACEHOLDER.fullmatch(f"{{{placeholder}}}"):
            raise WishError(where, "is not the name of a variable", "use letters, digits and _")
        if not isinstance(entries, list):
            raise WishError(where, f"is {shown(entries)}", "give a list of mappings, each with a name")
        _check_entries(entries, where)


def _check_entries(entries: list[Any], where: str) -> None:
    known: set[str] = set()
    for number, entry in enumerate(entries):
        name = entry.get("name") if isinstance(entry, Mapping) else None
        if not isinstance(name, str) or not SAFE_NAME.fullmatch(name):
            problem = "is missing" if name is None else f"{shown(name)} cannot be part of a path"
            raise WishError(f"{where}[{number}].name", problem, f"use {SAFE_NAMES}")
        if name in known:
            raise WishError(f"{where}[{number}].name", f"'{name}' is there twice", "rename one of the two")
        known.add(name)


def destinations(root: str, expand: Mapping[str, list[Entry]], exclude: list[str]) -> Destinations:
    """Work out which template makes which path."""
    excluded = [matcher(pattern) for pattern in exclude]
    found: Destinations = {}
    for source in sources(root):
        if any(matches(source) for matches in excluded):
            continue
        _check_text(source)
        for path, entries in expansions(source, expand):
            if any(matches(path) for matches in excluded):
                continue
            if path in found:
                raise WishError(source, f"makes {path}, as does {found[path][0]}", "keep one of the two")
            found[path] = (source, entries)
    for folder in parents(found):
        if folder in found:
            problem = f"makes the file {folder}, which other templates need as a directory"
            raise WishError(found[folder][0], problem, "rename it")
    return found


def _check_text(source: str) -> None:
    try:
        source.encode()
    except UnicodeEncodeError:
        raise WishError(repr(source), "is not a name in UTF-8", "rename the file") from None


def _unreadable(error: OSError) -> None:
    raise WishError(str(error.filename), f"cannot be read ({error.strerror})", "correct src or the rights") from error


@contextlib.contextmanager
def discreet(template: str) -> Iterator[None]:
    """Let an error of the rendering say only what repeats no value: a name the template spells out, a line, a kind."""
    try:
        yield
    except Exception as error:  # whatever it is: Ansible would print what it says
        words = _harmless(error, template)
    else:
        return
    # Out here the error is no longer part of what is raised, and so of nothing that is printed.
    raise AnsibleError(words)


def _harmless(error: Exception, template: str) -> str:
    found = _UNDEFINED.fullmatch(str(error))
    if found and re.search(rf"\b{found[1] or found[2]}\b", template, re.ASCII):
        return found[0]
    kind = type(error).__name__
    cause: BaseException | None = error
    while cause:
        if isinstance(cause, TemplateSyntaxError):
            kind = f"syntax error in line {cause.lineno}"
        elif isinstance(cause, WishError) and _KEYS.fullmatch(cause.path):
            kind = f"because of {cause.path}"
        cause = cause.__cause__
    return f"cannot be rendered ({kind}) and is secret, so no more is said; {_TO_SEE_MORE}"


class ActionModule(ActionBase):
    """One call to the host whatever the number of files."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Check the options, render the tree, let the module do the rest."""
        super().run(tmp, task_vars)
        task_vars = task_vars or {}
        _validation, options = self.validate_argument_spec(ARGUMENT_SPEC)
        arguments = {key: self._task.args[key] for key in _FOR_THE_HOST if key in self._task.args}
        try:
            check_options(options)
            check_expand(options["expand"])
            files = self._render_all(options, task_vars) if options["state"] == "present" else {}
            arguments["_parcel"] = pack(files, sorted(options["expand"]))
        except WishError as error:
            return {"failed": True, "changed": False, "msg": str(error)}
        arguments["_largest_diff"] = constants.MAX_FILE_SIZE_FOR_DIFF
        result: dict[str, Any] = self._execute_module("tfserving.fleet.template_tree", arguments, task_vars=task_vars)
        if self._task.no_log:
            result.pop("diff", None)
        return result

    def _render_all(self, options: Mapping[str, Any], task_vars: dict[str, Any]) -> dict[str, Rendered]:
        root = self._root(options["src"])
        dest = self._task.args.get("dest", options["dest"])
        secrets = secrecy(options["attributes"])
        files = {}
        for path, (source, entries) in destinations(root, options["expand"], options["exclude"]).items():
            careful = discreet if secrets.secret(path) else contextlib.nullcontext
            content = self._content(root, source, os.path.join(dest, path), entries, task_vars, careful)
            files[path] = Rendered(content, source, {key: str(entry["name"]) for key, entry in entries.items()})
        return files

    def _root(self, src: str) -> str:
        role = self._task._role
        if "src" not in self._task.args and role:
            # Ansible's search would go on to the playbook's own templates: not what a role without any means.
            root = os.path.join(role._role_path, src)
        else:
            try:
                root = self._find_needle("templates", src)
            except AnsibleError:
                problem = f"there is no directory '{src}'"
                raise WishError("src", problem, "give one of the role or an absolute path") from None
        if not os.path.isdir(root):
            raise WishError("src", f"{root} is not a directory", "give the directory that holds the templates")
        return root

    def _content(
        self,
        root: str,
        source: str,
        destination: str,
        entries: Mapping[str, Entry],
        task_vars: dict[str, Any],
        careful: Careful,
    ) -> bytes:
        full = os.path.join(root, source)
        try:
            if source.endswith(SUFFIX):
                return self._rendered(full, source, destination, {**task_vars, **entries}, careful)
            with open(self._loader.get_real_file(full), "rb") as file:
                content: bytes = file.read()
                return content
        except OSError as error:
            raise WishError(full, f"cannot be read ({error.strerror})", "correct src or the rights") from error
        except AnsibleError as error:
            where = ", ".join(f"{key} {entry['name']}" for key, entry in entries.items())
            raise WishError(f"{full} ({where})" if where else full, str(error), "") from error

    def _rendered(self, full: str, source: str, destination: str, variables: dict[str, Any], careful: Careful) -> bytes:
        """Render as ansible.builtin.template does with its defaults, byte for byte."""
        template = trust_as_template(self._loader.get_text_file_contents(full))
        own = generate_ansible_template_vars(source, full, destination)
        if "ansible_managed" in variables:
            del own["ansible_managed"]
        places = [*variables.get("ansible_search_path", []), self._loader.get_basedir(), os.path.dirname(full)]
        templar = self._templar.copy_with_new_env(
            searchpath=[path for place in places for path in (os.path.join(place, "templates"), place)],
            available_variables={**variables, **own},
        )
        with careful(template):
            result = templar.template(template, escape_backslashes=False, overrides=_OVERRIDES)
            content: bytes = to_bytes("" if result is None else result, errors="surrogate_or_strict")
        return content
