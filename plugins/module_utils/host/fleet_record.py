# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a host remembers of the serving hosts, for runs that cannot reach them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..disk.record import Record
from ..errors import WishError

_SCHEMA = 1
# 1000 hosts of many instances take a few MB.
_MOST = 64 << 20


def remember(
    path: str, host: Mapping[str, Any], wanted: Mapping[str, Any] | None, check_mode: bool = False
) -> tuple[dict[str, Any], bool]:
    """Return what is remembered by host, and whether ``wanted`` changes that; None does not. Raises WishError.

    :param host: the shape of what is remembered of each host, as plain_files.fits takes it.
    """
    # It tells who serves what.
    record = Record(path, {"schema": int, "hosts": {str: host}}, schema=_SCHEMA, most=_MOST, mode=0o600)
    known: dict[str, Any] = (record.load() or {"hosts": {}})["hosts"]
    if wanted is None or wanted == known:
        return known, False
    if not check_mode:
        try:
            record.save({"schema": _SCHEMA, "hosts": dict(wanted)})
        except OSError as error:
            raise WishError(path, f"cannot be written ({error.strerror})", "make room on the host") from error
    return dict(wanted), True
