# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The REST face: paths, request and answer bodies, errors and what is counted."""

from __future__ import annotations

import re
import time
import urllib.parse
from dataclasses import dataclass
from typing import Any

from tensorflow_serving.apis import classification_pb2, regression_pb2

from tfs_reference import inference, json_request, json_response, metrics
from tfs_reference.core import ServerCore
from tfs_reference.http_server import NOT_FOUND, Request, Response
from tfs_reference.inference import Settings
from tfs_reference.model_status import model_status
from tfs_reference.source import integer
from tfs_reference.status import StatusError, failed_precondition, invalid_argument, of_exception

_MODEL = r"/v1/models/(?P<model>[^/:]+)(?:/versions/(?P<version>[0-9]+)|/labels/(?P<label>[^/:]+))?"
_CALL = re.compile(_MODEL + r":(?P<method>classify|regress|predict)", re.IGNORECASE)
_STATUS = re.compile(
    r"/v1/models(?:/(?P<model>[^/:]+))?(?:/versions/(?P<version>[0-9]+)|/labels/(?P<label>[^/:]+))?(?P<metadata>/metadata)?",
    re.IGNORECASE,
)
_API = re.compile(r"/v1/.*", re.IGNORECASE | re.DOTALL)
_ORIGIN = re.compile(r"https?://")
_JSON = {"Content-Type": "application/json"}
_CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "POST, GET",
    "Access-Control-Allow-Headers": "Content-Type",
}


@dataclass
class Call:
    """What the path asks for; `method` is empty for status and metadata."""

    model: str = ""
    version: int | None = None
    label: str | None = None
    method: str = ""
    metadata: bool = False


class RestApi:
    """The handler of the HTTP server. `metrics_path` is None when the Prometheus page is off."""

    def __init__(self, core: ServerCore, settings: Settings, metrics_path: str | None, cors: bool) -> None:
        self._core = core
        self._settings = settings
        self._metrics_path = metrics_path
        self._headers = {**_JSON, **_CORS} if cors else _JSON

    def __call__(self, request: Request) -> Response:
        if request.path == self._metrics_path:
            return self._metrics_page(request)
        if not _API.fullmatch(request.target):
            return NOT_FOUND
        started = time.monotonic()
        call = Call()
        try:
            body = self._answer(request, call)
        except Exception as error:
            status = of_exception(error)
            metrics.REQUEST_COUNT.add(call.model, status.code)
            return Response(status.http, json_response.error(status.message), self._headers)
        micros = int((time.monotonic() - started) * 1e6)
        metrics.REQUEST_LATENCY.observe(micros, call.model, call.method, "REST")
        metrics.REQUEST_COUNT.add(call.model, "OK")
        return Response(200, body, self._headers)

    def _metrics_page(self, request: Request) -> Response:
        headers = {"Content-Type": "text/plain"}
        if request.target != self._metrics_path:
            problem = f"Unexpected path: {_text(request.target)}. Should be {self._metrics_path}"
            return Response(400, problem, headers)
        return Response(200, metrics.REGISTRY.page(), headers)

    def _answer(self, request: Request, call: Call) -> str:
        if request.method == "OPTIONS":
            if not _ORIGIN.search(request.headers.get("origin", "")):
                raise failed_precondition("Origin header is missing in CORS preflight")
            return ""
        _parse_path(request, call)
        if call.method == "predict":
            return self._predict(call, request.body)
        if call.method:
            return self._examples(call, request.body)
        if not call.model:
            raise invalid_argument("Missing model name in request.")
        return self._metadata(call) if call.metadata else self._status(call)

    def _predict(self, call: Call, body: bytes) -> str:
        document = json_request.parse(body)
        signature_name = json_request.signature_name(document)
        with self._core.handle(call.model, call.version, call.label) as servable:
            try:
                _, signature = servable.signature(signature_name)
            except StatusError:
                shown = signature_name or "serving_default"
                raise invalid_argument(f'Serving signature name: "{shown}" not found in signature def') from None
            if not signature.inputs:
                raise invalid_argument(f"Failed to get input map for signature: {signature_name or 'DEFAULT'}")
            inputs, rows = json_request.predict_inputs(document, signature.inputs)
            outputs = inference.run_predict(servable, signature, inputs, self._settings, [])
        return json_response.predictions(outputs) if rows else json_response.columns(outputs)

    def _examples(self, call: Call, body: bytes) -> str:
        """Classify and regress."""
        document = json_request.parse(body)
        classify = call.method == "classify"
        kind = classification_pb2.ClassificationRequest if classify else regression_pb2.RegressionRequest
        request = kind()
        request.model_spec.signature_name = json_request.signature_name(document)
        examples, context = json_request.examples(document)
        listed = request.input.example_list
        if context is not None:
            listed = request.input.example_list_with_context
            listed.context.CopyFrom(context)
        listed.examples.extend(examples)
        with self._core.handle(call.model, call.version, call.label) as servable:
            if classify:
                return json_response.classifications(inference.classify(servable, request, self._settings).result)
            return json_response.regressions(inference.regress(servable, request, self._settings).result)

    def _status(self, call: Call) -> str:
        # A label is accepted in the path and then not used: every version is listed.
        return json_response.model_status(model_status(self._core.monitor, call.model, call.version))

    def _metadata(self, call: Call) -> str:
        with self._core.handle(call.model, call.version, call.label) as servable:
            response = inference.metadata(servable)
            return json_response.model_metadata(response.model_spec, inference.signature_def_map(servable))


def _parse_path(request: Request, call: Call) -> None:
    """Fill in `call`, model name first: it labels the metrics even when the rest is wrong."""
    pattern = {"POST": _CALL, "GET": _STATUS}.get(request.method)
    match = pattern.fullmatch(request.target) if pattern else None
    if not match:
        raise invalid_argument(f"Malformed request: {request.method} {_text(request.target)}")
    parts: dict[str, Any] = match.groupdict()
    call.model = _unescaped(parts["model"] or "")
    if parts["version"]:
        call.version = integer(parts["version"])
        if call.version is None:
            raise invalid_argument(f"Failed to convert version: {parts['version']} to numeric.")
    if parts["label"]:
        call.label = _unescaped(parts["label"])
    call.method = (parts.get("method") or "").lower()
    call.metadata = bool(parts.get("metadata"))


def _text(latin: str) -> str:
    """What HTTP read byte by byte, as the text that it is."""
    return latin.encode("latin-1").decode(errors="surrogateescape")


def _unescaped(latin: str) -> str:
    return urllib.parse.unquote_to_bytes(latin.encode("latin-1")).decode(errors="surrogateescape")
