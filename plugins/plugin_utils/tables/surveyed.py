# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The surveyed releases of the server, and the treatment of others.

Only the table of flags names the surveyed releases. A newer release is planned for as the newest of them: flags and
fields that one does not know may exist, so they are refused as not surveyed, unless the user permits them.
"""

from __future__ import annotations

import re

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError, described

from .read import table

Release = tuple[int, int, int]

# The setting that permits what has not been surveyed.
PERMISSION = "host_plan_policy.allow_unsurveyed_release"

_RELEASE = re.compile(r"([0-9]{1,6})\.([0-9]{1,6})\.([0-9]{1,6})(?:-?rc[0-9]{1,6})?")


def releases() -> list[str]:
    """Return the surveyed releases, oldest first."""
    return list(table("server_flags")["surveyed"])


def oldest() -> str:
    """Return the oldest surveyed release."""
    return releases()[0]


def newest() -> str:
    """Return the newest surveyed release."""
    return releases()[-1]


def numbers(version: str) -> Release:
    """Return ``"2.19.1"`` as ``(2, 19, 1)``."""
    major, minor, patch = version.split(".")
    return int(major), int(minor), int(patch)


def parse(version: object) -> Release:
    """Return ``"2.19.1"`` as ``(2, 19, 1)``; a suffix such as ``-rc0`` counts as the release it leads to.

    :raises WishError: it is not a release, or older than the oldest surveyed one.
    """
    found = _RELEASE.fullmatch(version) if isinstance(version, str) else None
    if not found:
        problem = f"{described(version)} is not a release of the server"
        raise WishError("version", problem, 'write three numbers in quotes, such as "2.19.1"')
    release = (int(found[1]), int(found[2]), int(found[3]))
    if release < numbers(oldest()):
        raise WishError("version", f"the flags of {version} were never surveyed", f"use {oldest()} or newer")
    return release


def is_newer(version: object) -> bool:
    """Return whether a release is newer than all surveyed ones; patch releases add nothing, so they are not."""
    return parse(version)[:2] > numbers(newest())[:2]


def unknown(path: str, what: str, version: str, guess: str = "") -> WishError:
    """Return the refusal of a flag or field (``what``) that a newer release may have, but no surveyed one has."""
    problem = f"{version} was not surveyed, and {newest()}, the newest release that was, has no such {what}"
    permit = f"set {PERMISSION} to true if {version} has it"
    return WishError(path, problem, f"{guess} Otherwise, {permit}" if guess else f"leave it out, or {permit}")
