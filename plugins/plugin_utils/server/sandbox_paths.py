# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Host directories that a server's unit hides from it, by the lines of its sandbox.

Things that only the host knows (links, mounts, permissions of parents) are checked there, by serving/sight.py.
"""

from __future__ import annotations

import posixpath

from ansible_collections.tfserving.fleet.plugins.module_utils.defaults import CONFIG

_HOME = "which the servers do not see (ProtectHome= of their unit)"
_TMP = "in place of which each server has an empty one of its own (PrivateTmp= of its unit)"
_DEV = "of which the servers see the common devices alone (PrivateDevices= of their unit)"
_KERNEL = "which is the kernel's, and in part hidden from the servers"
_RUN = "which is empty after a boot, and in the root of an image"
_CONFIG = "where the instances' own files are"
_RECORDS = "where the collection keeps its records"

# Directories, and why a server cannot read anything below them.
HIDDEN = {
    "/home": _HOME,
    "/root": _HOME,
    "/run": _RUN,
    "/var/run": _RUN,
    "/tmp": _TMP,
    "/var/tmp": _TMP,
    "/dev": _DEV,
    "/proc": _KERNEL,
    "/sys": _KERNEL,
    CONFIG: _CONFIG,
    "/var/lib/tfserving-fleet": _RECORDS,
    "/var/cache/tfserving": "which belongs to the servers themselves",
    "/var/lib/private": "which is closed to all but root",
    "/var/cache/private": "which is closed to all but root",
}


# Directories of the system: all of these, and everything below those in _SYSTEM. They cannot be the root of models,
# where modes and owners are set, nor of releases, from which unnamed releases are removed.
_SYSTEM = ("/bin", "/boot", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/lost+found", "/sbin", "/usr")
_SHARED = ("/media", "/mnt", "/opt", "/srv", "/usr/local", "/var", "/var/cache", "/var/lib", "/var/log", "/var/spool")


def systems(path: str) -> str:
    """Return why ``path`` belongs to the system and is no place for our files, or an empty text."""
    found = "/" + posixpath.normpath(path).lstrip("/")
    local = found.startswith("/usr/local/")
    if found in _SHARED or (not local and found.startswith(tuple(f"{top}/" for top in _SYSTEM))) or found in _SYSTEM:
        return "which is a directory of the system"
    return ""


def hidden(path: str) -> str:
    """Return why a server could not read ``path``, as the end of a sentence, or an empty text."""
    # POSIX leaves the meaning of two leading slashes open, so normpath keeps them; on Linux they mean the same as one.
    found = "/" + posixpath.normpath(path).lstrip("/")
    if found == "/":
        return "the root of all directories"
    for top, reason in HIDDEN.items():
        if found == top or found.startswith(top + "/"):
            return f"and that is in {top}, {reason}"
    return ""
