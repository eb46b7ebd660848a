# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Text from outside (models, servers, devices, archives), made harmless before it reaches a terminal or a log."""

from collections.abc import Mapping
from typing import Any


def visible(text: str) -> str:
    r"""Return ``text`` as one line of printable characters, all others escaped: ``\x1b``, ``\n``, ``\u202e``.

    Python calls these not printable: control characters (C0, C1), formats (bidirectional overrides, zero width),
    surrogates, line and paragraph separators, private and unassigned code points, and blanks other than the space.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def visible_lines(text: str) -> str:
    """Return ``text`` escaped likewise but with its line breaks: for layouts made here of parts already escaped."""
    return "\n".join(map(visible, text.split("\n")))


def visible_data(data: Any) -> Any:
    """Return plain data with every text in it made visible, including the keys of mappings."""
    if isinstance(data, str):
        return visible(data)
    if isinstance(data, Mapping):
        return {visible_data(key): visible_data(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [visible_data(value) for value in data]
    return data


def told(text: str, length: int) -> str:
    """Return a foreign text for use in a sentence: one printable line of at most ``length`` characters."""
    return shortened(visible(text[: length + 1]), length)


def shortened(text: str, length: int) -> str:
    """Return ``text`` cut to ``length`` characters, with the cut marked."""
    return text if len(text) <= length else text[: length - 1] + "…"
