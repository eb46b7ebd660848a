# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Checks of a gateway's certificates: HAProxy starts with one that has expired, and callers find out."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.refusals import Refusals

from ..wishes import tls

_PAIRS = (("gateway_tls_certificate", "gateway_tls_key"), ("gateway_server_certificate", "gateway_server_key"))
_AUTHORITIES = ("gateway_tls_client_ca", "gateway_server_ca")
_REMEDY = "renew it"


def check(settings: Mapping[str, Any], now: datetime | None = None) -> None:
    """Raise WishError, without secrets in its text, for all that would fail handshakes, now or before a run ends.

    :param settings: as settings.complete() returns them.
    """
    refusals, moment = Refusals(), now or datetime.now(timezone.utc)
    for names in _PAIRS:
        if settings[names[0]]:
            refusals.check(tls.check_pair, *(settings[name] for name in names), moment, names, _REMEDY)
    for name in _AUTHORITIES:
        if settings[name]:
            refusals.check(tls.check_authorities, settings[name], moment, name, _REMEDY)
    refusals.stop()
