# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The one way in which something is remembered on a host from one run to the next: a small file of JSON.

It is written whole and durably, it is not there where nothing is to be remembered, and it is read as something that
anybody may have damaged.
"""

from __future__ import annotations

import json
import os
from typing import Any

from ..errors import WishError
from . import durable, folders, plain_files

# What we remember has some kB; who remembers more says so.
MOST_BYTES = 1 << 20
# A figure beyond this is none that a release has written.
_MOST_SCHEMA = 1000


class Record:
    """A record at ``path`` of a ``shape`` as plain_files.fits takes it.

    :param remedy: what to do about one that is damaged, and what is lost with it.
    :param schema: the newest schema that is read, for a record that says which it is of.
    :param folder: the mode of its directory where that is yet to be made.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        shape: Any,
        remedy: str = "move it away and run again",
        *,
        schema: int = 0,
        most: int = MOST_BYTES,
        mode: int = 0o644,
        folder: int = 0o755,
    ) -> None:
        self.path = os.fspath(path)
        self.shape = shape
        self.remedy = remedy
        self.schema = schema
        self.most = most
        self.mode = mode
        self.folder = folder

    def load(self) -> Any:
        """Return what is remembered, None where nothing is. Raises WishError for what cannot be read."""
        try:
            return self.read()
        except OSError as error:
            raise WishError(self.path, f"cannot be read ({error.strerror})", self.remedy) from error

    def read(self) -> Any:
        """Return it as ``load`` does. Raises OSError where there is something else than a file, or it fails."""
        try:
            value = plain_files.json_of(self.path, self.most)
        except FileNotFoundError:
            return None
        except ValueError:
            raise WishError(self.path, "is damaged", self.remedy) from None
        self._refuse_later(value)
        if not plain_files.fits(value, self.shape):
            raise WishError(self.path, "is damaged", self.remedy)
        return value

    def found(self) -> Any:
        """Return what is remembered, None also where it cannot be read: for what does without it."""
        try:
            return self.read()
        except (OSError, WishError):
            return None

    def save(self, value: Any) -> None:
        """Remember ``value`` in place of what was remembered; an empty one leaves no file. Raises OSError."""
        if not value:
            durable.remove(self.path)
            return
        folders.make(os.path.dirname(self.path), self.folder)
        durable.write(self.path, text(value).encode(), self.mode)

    def _refuse_later(self, value: Any) -> None:
        if self.schema and plain_files.fits(value, {"schema": int}) and self.schema < value["schema"] < _MOST_SCHEMA:
            problem = f"has schema {value['schema']}, this release of the collection reads schema {self.schema}"
            raise WishError(self.path, problem, "run the release that wrote it, or a newer one")


def text(value: Any) -> str:
    """Return a value as records have it: sorted and indented, so that people and diffs can read it."""
    return json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n"
