# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a server says of itself: its models' versions, and how fast it answers the shortest questions.

Each question by REST counts as a request of the model in the server's own counters; the evidence says how many.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ..serving import bounded_http
from ..visible_text import told
from . import health

SECONDS = 2.0
MOST_MODELS = 64
MOST_VERSIONS = 20
LONGEST = 500


def ask(instance: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``models`` and ``probe`` of an instance of the plan. The first question without an answer is the last."""
    rest = instance["ports"]["rest"]
    probe: dict[str, Any] = {"grpc_health": None, "grpc_ms": None, "rest_ms": None, "status_calls": 0}
    models: dict[str, Any] = {}
    for model in instance.get("models", ())[:MOST_MODELS]:
        if probe.get("error"):
            models[model] = {"states": [], "error": probe["error"]}
            continue
        began = time.monotonic()
        models[model] = _states(rest, model, probe)
        if not probe.get("error") and probe["rest_ms"] is None:
            probe["rest_ms"] = round((time.monotonic() - began) * 1000, 2)
    return {"models": models, "probe": {**probe, **_grpc(instance)}}


def _states(port: int, model: str, probe: dict[str, Any]) -> dict[str, Any]:
    headers = {"User-Agent": "tfserving.fleet"}
    probe["status_calls"] += 1
    try:
        code, raw = bounded_http.exchange(
            port, "GET", f"/v1/models/{model}", headers, SECONDS, bounded_http.MOST_STATUS_BYTES
        )
        answer = bounded_http.parsed(raw)
        if code != 200:
            return {"states": [], "error": told(str(answer["error"]), LONGEST)}
        return {"states": [_state(each) for each in answer["model_version_status"][:MOST_VERSIONS]], "error": ""}
    except bounded_http.ExchangeError as error:
        probe["error"] = told(f"port {port} {error}", LONGEST)
        return {"states": [], "error": probe["error"]}
    except (ValueError, TypeError, KeyError, AttributeError):
        return {"states": [], "error": f"port {port} answers with something else than the status of a model"}


def _state(entry: Mapping[str, Any]) -> dict[str, Any]:
    status = entry.get("status") or {}
    return {
        "version": int(entry["version"]),
        "state": told(str(entry["state"]), 40),
        "error_code": told(str(status.get("error_code", "")), 40),
        "error_message": told(str(status.get("error_message", "")), LONGEST),
    }


def _grpc(instance: Mapping[str, Any]) -> dict[str, Any]:
    if instance.get("flags", {}).get("ssl_config_file"):
        # It may want a certificate of the caller's, and this is no way to hand one over.
        return {"grpc_error": "", "grpc_tls": True}
    try:
        found = health.check(instance["ports"]["grpc"])
    except OSError as error:
        return {"grpc_error": told(str(error.strerror or error), LONGEST)}
    return {"grpc_health": found.status, "grpc_ms": found.ms, "grpc_error": ""}
