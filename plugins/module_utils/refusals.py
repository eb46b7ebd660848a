# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Collects everything that is wrong with a host's wishes, so that one run reports it all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .errors import WishError

# Besides the first. More than this comes from one mistake in a template, and fills screens.
MOST_SHOWN = 50


class WishErrors(WishError):  # noqa: N818 (the plural is the point of it)
    """Several wishes that cannot be granted: the first as a sentence, the others listed below it."""

    def __init__(self, errors: Sequence[WishError]) -> None:
        self.errors = list(errors)
        super().__init__(errors[0].path, errors[0].problem, errors[0].remedy)

    def __str__(self) -> str:
        first, *others = (WishError.__str__(error) for error in self.errors[: MOST_SHOWN + 1])
        if not others:
            return first
        more = len(self.errors) - 1
        untold = [f"- and {more - len(others)} that are not shown"] if more > len(others) else []
        return "\n".join([first, f"and {more} more:", *(f"- {other}" for other in others), *untold])


def sentences(error: WishError) -> list[str]:
    """Return every refusal as a sentence of its own."""
    return [WishError.__str__(each) for each in (error.errors if isinstance(error, WishErrors) else [error])]


class Refusals:
    """The refusals collected so far."""

    def __init__(self) -> None:
        self.errors: list[WishError] = []

    def add(self, error: WishError) -> None:
        """Add one refusal."""
        self.errors.extend(error.errors if isinstance(error, WishErrors) else [error])

    def check(self, function: Callable[..., Any], *arguments: Any, default: Any = None) -> Any:
        """Return the result of a check; if it refuses, keep the refusal and return ``default``."""
        try:
            return function(*arguments)
        except WishError as error:
            self.add(error)
            return default

    def stop(self) -> None:
        """Raise all collected refusals together, if any."""
        if self.errors:
            raise WishErrors(self.errors)
