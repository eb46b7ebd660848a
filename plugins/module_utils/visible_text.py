# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Text from outside (models, servers, devices, archives), made harmless where it leaves for a terminal or a log."""


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


def shortened(text: str, length: int) -> str:
    """Return ``text`` cut to ``length`` characters, the cut marked."""
    return text if len(text) <= length else text[: length - 1] + "…"
