# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Keeps what Python compiles of the archives in which Ansible sends modules, for the next process of the tests.

Python keeps no bytecode of archives, so each module of a playbook compiles the same thirty files for a tenth of a
second, two thirds of its time. The code kept is that of the very source, by this very Python.
"""

import hashlib
import marshal
import os
import sys
import types
import zipimport

_COMPILE = zipimport._compile_source
_KEPT = os.environ.get("COMPILED_MODULES", "")


def _compiled(path, source):
    """Return the code of a file; its path, which names a temporary folder, is that of the first run."""
    known = "\0".join((sys.version, sys.implementation.cache_tag or "", os.path.basename(path)))
    kept = os.path.join(_KEPT, hashlib.sha256(known.encode() + source).hexdigest())
    try:
        with open(kept, "rb") as file:
            code = marshal.load(file)
    except (OSError, ValueError, EOFError, TypeError):
        code = None
    if isinstance(code, types.CodeType):
        return code
    code = _COMPILE(path, source)
    half = f"{kept}.{os.getpid()}"
    with open(half, "wb") as file:
        marshal.dump(code, file)
    os.replace(half, kept)
    return code


if os.path.isdir(_KEPT):
    zipimport._compile_source = _compiled
