# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Records that persist on a host from one run to the next: small JSON files.

A record is written whole and durably, is absent when there is nothing to remember, and is read as possibly damaged by
anybody.
"""

from __future__ import annotations

import json
import os
from typing import Any

from ..errors import WishError
from . import durable, folders, plain_files

# Our records take a few kB; larger ones pass a limit of their own.
MOST_BYTES = 1 << 20
# No release has written a number beyond this.
_MOST_SCHEMA = 1000


class Record:
    """A record at ``path`` of a ``shape`` as plain_files.fits takes it.

    :param remedy: what to do about a damaged record, and what is lost with it.
    :param schema: the newest schema that is read, for a record that states its schema.
    :param folder: the mode of its directory if that has to be created.
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
        """Return the recorded value, or None if there is none. Raises WishError if it cannot be read."""
        try:
            return self.read()
        except OSError as error:
            raise WishError(self.path, f"cannot be read ({error.strerror})", self.remedy) from error

    def read(self) -> Any:
        """Return the value as ``load`` does. Raises OSError if reading fails or the path is not a file."""
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
        """Return the recorded value, or None if missing or unreadable: for callers that can do without it."""
        try:
            return self.read()
        except (OSError, WishError):
            return None

    def save(self, value: Any) -> None:
        """Replace the recorded value; an empty ``value`` removes the file. Raises OSError."""
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
    """Return a value in the format of records: sorted and indented, for people and diffs."""
    return json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n"
