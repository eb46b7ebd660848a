# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Errors of rendering templates with secret values, without those values."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from ansible.errors import AnsibleError
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from jinja2 import TemplateSyntaxError

_UNDEFINED = re.compile(r"'(\w+)' is undefined|object of type '\w+' has no attribute '(\w+)'", re.ASCII)

# A place such as environment.TF_CPP_MIN_LOG_LEVEL or a[0].b; never an assignment or other text.
_KEYS = re.compile(r"[A-Za-z_][A-Za-z0-9_.\[\]]*", re.ASCII)

_TO_SEE_MORE = "try the template with harmless values and without 'secret'"


@contextlib.contextmanager
def discreet(template: str) -> Iterator[None]:
    """Reduce an error of rendering to what contains no value: a name from the template, a line, a kind of error."""
    try:
        yield
    except Exception as error:  # any kind: Ansible would print its message
        words = _harmless(error, template)
    else:
        return
    # Raised without the error as its context, so that nothing prints it, not even a traceback.
    raise AnsibleError(words) from None


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
