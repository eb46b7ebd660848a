# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Text from outside (models, servers, devices, archives), made harmless where it leaves for a terminal or a log."""

from collections.abc import Mapping
from typing import Any


def visible(text: str) -> str:
    r"""Return ``text`` as one line in which nothing acts: ``\x1b``, ``\n`` or ``\u202e`` for what they stand for.

    What Python does not call printable is control characters (C0, C1), formats (bidirectional overrides, zero width),
    surrogates, line and paragraph separators, private and unassigned code points, and blanks other than the space.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def visible_lines(text: str) -> str:
    """Return ``text`` the same way, its own line breaks kept: for what was laid out here, of parts already visible."""
    return "\n".join(map(visible, text.split("\n")))


def visible_data(data: Any) -> Any:
    """Return plain data with every text in it made visible, the names of mappings included."""
    if isinstance(data, str):
        return visible(data)
    if isinstance(data, Mapping):
        return {visible_data(key): visible_data(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [visible_data(value) for value in data]
    return data


def told(text: str, length: int) -> str:
    """Return a foreign text as part of a sentence: one line in which nothing acts, of at most ``length`` characters."""
    return shortened(visible(text[: length + 1]), length)


def shortened(text: str, length: int) -> str:
    """Return ``text`` cut to ``length`` characters, the cut marked."""
    return text if len(text) <= length else text[: length - 1] + "…"
