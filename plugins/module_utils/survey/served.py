# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a server says that it serves: asked by REST, else by gRPC, and never for a prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..diagnosis import health
from ..errors import WishError
from ..load.messages import delimited, fields
from ..serving.client import Client, ServerError, UnreachableError, served_version
from ..visible_text import told
from . import listening, secrets
from .model_configs import Model

MOST_MODELS = 64
MOST_LABELS = 20
_STATUS = b"/tensorflow.serving.ModelService/GetModelStatus"
# Before a message of gRPC: whether it is compressed, and its length.
_PREFIX = 5
# get_model_status.proto
_STATES = {0: "UNKNOWN", 10: "START", 20: "LOADING", 30: "AVAILABLE", 40: "UNLOADING", 50: "END"}


class UnaskedError(WishError):
    """A server that cannot be asked what it serves; the text says why."""

    def __init__(self, why: str) -> None:
        super().__init__("", why, "")


def ask(places: Sequence[Mapping[str, Any]], models: Sequence[Model], tls: bool) -> dict[str, Any]:
    """Return ``serves`` and ``labels``. Raises UnaskedError."""
    if not models:
        raise UnaskedError("no model is known to ask for")
    rest = [place for place in places if place["kind"] == listening.REST]
    if rest:
        return _rest(Client(rest[0]["port"], listening.caller(rest[0]["address"])), models)
    grpc = [place for place in places if place["kind"] == listening.GRPC]
    if not grpc:
        raise UnaskedError("it listens on no port that its flags name")
    if tls:
        raise UnaskedError("it has no REST, and takes gRPC only by TLS")
    place = (grpc[0]["port"], listening.caller(grpc[0]["address"]))
    return {"serves": [row for model in models[:MOST_MODELS] for row in _by_grpc(*place, model.name)], "labels": {}}


def _rest(client: Client, models: Sequence[Model]) -> dict[str, Any]:
    serves, labels = [], {}
    for model in models[:MOST_MODELS]:
        try:
            states = client.status(model.name)
        except (UnreachableError, ServerError) as error:
            raise UnaskedError(str(error)) from error
        serves += [_row(model.name, each.version, each.state, each.error) for each in states]
        labels.update({model.name: found} if (found := _labels(client, model)) else {})
    return {"serves": serves, "labels": labels}


def _row(model: str, version: int, state: str, error: str) -> dict[str, Any]:
    return {"model": told(model, 500), "version": version, "state": state, "error": secrets.hidden(error) or None}


def _labels(client: Client, model: Model) -> dict[str, int | None]:
    """Return the version that each label of the configuration really leads to; None for one that leads nowhere."""
    found: dict[str, int | None] = {}
    for label in sorted(model.labels)[:MOST_LABELS]:
        try:
            found[told(label, 200)] = served_version(client.metadata(model.name, label))
        except (UnreachableError, ServerError):
            found[told(label, 200)] = None
    return found


def _by_grpc(port: int, address: str, model: str) -> list[dict[str, Any]]:
    try:
        answer = health.call(port, _STATUS, delimited(1, delimited(1, model.encode())), address)
        message = memoryview(answer)[_PREFIX:]
        rows = [_state(model, memoryview(each)) for field, _kind, each in fields(message) if field == 1]
    except OSError as error:
        raise UnaskedError(f"port {port} does not answer by gRPC ({error.strerror or error})") from error
    except (ValueError, TypeError) as error:
        raise UnaskedError(f"port {port} answers with something else than the states of a model") from error
    if not rows:
        raise UnaskedError(f"port {port} does not tell the states of {told(model, 200)} by gRPC")
    return rows


def _state(model: str, message: memoryview) -> dict[str, Any]:
    """Return a ModelVersionStatus: version, state and, where there is an error, its words."""
    found = {field: each for field, _kind, each in fields(message)}
    status = {field: each for field, _kind, each in fields(memoryview(found.get(3) or b""))}
    words = bytes(status.get(2) or b"").decode("utf-8", "replace")
    state = _STATES.get(int(found.get(2, 0)), "UNKNOWN")
    return _row(model, int(found.get(1, 0)), state, told(words, 2000) if status.get(1) else "")
