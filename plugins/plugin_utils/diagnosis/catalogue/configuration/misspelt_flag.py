# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A flag that the server does not know: it prints its usage and goes on without it."""

from __future__ import annotations

from itertools import dropwhile
from pathlib import PurePosixPath

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError, nearest
from ansible_collections.tfserving.fleet.plugins.module_utils.visible_text import told

from ....server import flags as server_flags
from ....tables import surveyed
from ... import said
from ...case import Case
from ...derived import each_running
from ...finding import Fault, Judged, Remedy
from ...instance import Instance
from ...reading import at, listed, text
from ...verdicts import cleared, proof, unknown

_WORDS = (r"unknown argument", r"usage: .*tensorflow_model_server")


def judge(case: Case) -> list[Judged]:
    """Judge the command line of each instance."""
    return each_running(case, _judged)


def _judged(case: Case, instance: Instance) -> Judged | None:
    words = _flags(instance)
    if not words:
        return unknown("its command line could not be read", instance.name)
    version = text(at(instance.plan, "server", "version")) or text(at(case.plan, "server", "version"))
    try:
        known = server_flags.known_flags(version)
        is_newer = surveyed.is_newer(version)
    except WishError as error:
        return unknown(f"flags of its release are not known ({error})", instance.name)
    wrong = [word for word in words if not _is_known(word, known)]
    if not wrong:
        return cleared(f"{version} knows all of its flags.", instance=instance.name)
    return _found(instance, version, wrong, sorted(known), is_newer)


def _flags(instance: Instance) -> list[str]:
    """Return the words after the program; where an interpreter or a loader runs it, those from the first flag on."""
    program, *words = map(text, listed(instance.evidence.get("cmdline")) or [""])
    if PurePosixPath(program).name.startswith("tensorflow_model_server"):
        return words
    return list(dropwhile(_is_before_flags, words))


def _is_before_flags(word: str) -> bool:
    return not word.startswith("--")


def _is_known(word: str, known: object) -> bool:
    """Tell whether a word is a flag: only ``--name`` and ``--name=value`` are, never ``--name value``."""
    name = word[2:].partition("=")[0] if word.startswith("--") else ""
    return isinstance(known, dict) and name in known


def _found(instance: Instance, version: str, wrong: list[str], known: list[str], is_newer: bool) -> Judged:
    name = wrong[0].lstrip("-").partition("=")[0]
    guess = nearest(name, known)
    return Judged(
        "suspect" if is_newer else "cause",
        0.4 if is_newer else 0.9,
        (
            *(proof("its command line", told(word, 120), f"a flag of {version}") for word in wrong[:3]),
            *said.proofs(instance, *_WORDS),
        ),
        "The table of flags was read from the sources of each release; what the flag should change has its default.",
        instance.name,
        impact=0.4,
        words=guess or "",
    )


FAULT = Fault(
    id="flags.unknown",
    title="The server ignores a flag that it does not know",
    layer="configuration",
    observable="a word of the command line is no flag of this release",
    remedy=Remedy(
        "Correct the flag in the wishes, where each is checked, and let the role write the unit.",
        "tfserving_instances: [{name: INSTANCE, flags: {NAME: VALUE}}]; "
        "ansible-playbook playbooks/site.yml --limit HOST",
        "low",
        restart=True,
    ),
    refs=("https://github.com/tensorflow/serving/blob/2.19.1/tensorflow_serving/model_servers/main.cc",),
    judge=judge,
)
