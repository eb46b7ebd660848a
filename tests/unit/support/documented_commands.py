# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Reads Ansible's commands out of pages and pipelines, and says what Ansible itself would refuse of one."""

from __future__ import annotations

import contextlib
import importlib
import io
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import yaml
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark import options
from ansible_collections.tfserving.fleet.plugins.plugin_utils.optimization import wishes
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import inventory
from repository import REPOSITORY

FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
SHELLS = {"", "sh", "console"}
PROMPT = re.compile(r"^ *\$ ")
CLI = {"playbook": "PlaybookCLI", "galaxy": "GalaxyCLI", "vault": "VaultCLI", "doc": "DocCLI"}
# The playbooks whose variables have names of one word, and their table of them.
MEASURING = {"benchmark", "tune", "profile", "optimize_model"}
# The same of others, which are few.
WORDS = {
    "drain": {"instance", "reason", "until"},
    "undrain": {"instance"},
    "rollout": {"model", "promote"},
    "rollback": {"model", "reason"},
}
# In the comments and values of playbooks, every variable that they read of whoever runs them.
WORD = re.compile(r"[a-z][a-z0-9_]+")


def of_page(path: Path) -> Iterator[list[str]]:
    """Yield the commands of a page's shell blocks as words."""
    for language, text in FENCE.findall(path.read_text(encoding="utf-8")):
        if language in SHELLS:
            yield from of_script(text)


def of_script(text: str) -> Iterator[list[str]]:
    """Yield Ansible's commands of a script as words, without variables of the environment before them."""
    for line in text.replace("\\\n", " ").splitlines():
        with contextlib.suppress(ValueError):  # no command: a quote of prose
            words = shlex.split(PROMPT.sub("", line), comments=True)
            start = next((n for n, word in enumerate(words) if re.fullmatch(r"ansible-\w+", word)), None)
            if start is not None and all("=" in word for word in words[:start]):
                rest = words[start:]
                yield rest[: next((n for n, word in enumerate(rest) if word in ("|", "||", "&&", ">", "then")), None)]


def problem(words: list[str]) -> str:
    """Return why a command would not do, or an empty text."""
    program = words[0].removeprefix("ansible-")
    command = getattr(importlib.import_module(f"ansible.cli.{program}"), CLI[program])(words)
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            command.init_parser()
            given = command.parser.parse_args(words[1:])
    except SystemExit:
        return f"{shlex.join(words)}: {said.getvalue().strip().splitlines()[-1]}"
    if program != "playbook":
        return ""
    wrong = [f"no playbook {name}" for name in given.args if not _playbook(name)]
    known = _known(given.args)
    wrong += [f"no variable {name}" for name in _variables(given.extra_vars) if name not in known]
    return f"{shlex.join(words)}: {'; '.join(wrong)}" if wrong else ""


def _playbook(name: str) -> bool:
    if name.startswith("tfserving.fleet."):
        return (REPOSITORY / "playbooks" / f"{name.rpartition('.')[2]}.yml").is_file()
    return (REPOSITORY / name).is_file()


def _variables(given: list[str]) -> Iterator[str]:
    for text in given:
        if not text.startswith("@"):
            yield from (pair.partition("=")[0] for pair in shlex.split(text))


def _known(playbooks: list[str]) -> set[str]:
    documented = {name for variables in inventory.role_specs().values() for name in variables}
    names = {Path(name).name.removesuffix(".yml").rpartition(".")[2] for name in playbooks}
    if MEASURING & names:
        documented |= set(options.FIELDS) | (set(wishes.FIELDS) if "optimize_model" in names else set())
    documented |= {word for name in names for word in WORDS.get(name, ())}
    for playbook in (REPOSITORY / "playbooks").glob("*.yml"):
        documented |= {word for word in WORD.findall(playbook.read_text(encoding="utf-8")) if "_" in word}
    return documented


def of_pipeline(path: Path) -> Iterator[list[str]]:
    """Yield the commands of all scripts of a GitHub workflow or a GitLab pipeline."""
    for script in scripts(yaml.safe_load(path.read_text(encoding="utf-8"))):
        yield from of_script(script)


def scripts(content: object, key: str = "") -> Iterator[str]:
    """Yield all that a shell is given in a pipeline."""
    if isinstance(content, dict):
        for name, value in content.items():
            yield from scripts(value, str(name))
    elif isinstance(content, list):
        for value in content:
            yield from scripts(value, key)
    elif isinstance(content, str) and key in ("run", "script", "before_script", "after_script"):
        yield content
