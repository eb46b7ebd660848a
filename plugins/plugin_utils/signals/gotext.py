# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""PromQL within the console templates of Prometheus, which are Go templates."""

from __future__ import annotations

import re

VARIABLE = re.compile(r"\$([a-z_]+)")


def text(expr: str) -> str:
    """Return PromQL as a value in a Go template; ``$name`` in it is the template's variable as a quoted string.

    Go's ``%q`` and a string of PromQL have the same escapes, so no value of a variable ends the string it stands in.
    """
    if "`" in expr:
        raise ValueError(f"a raw string of Go holds no backtick: {expr}")
    names = VARIABLE.findall(expr)
    if not names:
        return f"`{expr}`"
    form = VARIABLE.sub("%q", expr.replace("%", "%%"))
    return f"(printf `{form}` {' '.join('$' + name for name in names)})"


def matchers(labels: tuple[str, ...], fixed: tuple[str, ...], more: tuple[str, ...] = ()) -> str:
    """Return the matchers of a series' labels against the variables of the same names, and more, in braces."""
    found = [*(f"{label}=${label}" for label in labels if label in fixed), *more]
    return "{" + ", ".join(found) + "}" if found else ""
