# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The exception with which a stage gives up."""

from __future__ import annotations


class Stop(Exception):  # noqa: N818 - not a defect of the program: a condition that the reader can put right
    """One sentence for the user at the terminal: what is wrong, then what to do.

    details: the last lines of a failed command, if any.
    """

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(message)
        self.details = details
