# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The gRPC face: PredictionService, ModelService, and the profiler and grpc.health.v1 when they are enabled."""

# ruff: noqa: N802 (the method names are those of the services)

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import grpc
from tensorflow_serving.apis import (
    model_management_pb2,
    model_pb2,
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
)

from tfs_reference import admission, health, inference, log, metrics, profiler
from tfs_reference.core import ServerCore
from tfs_reference.inference import Settings
from tfs_reference.model_status import model_status
from tfs_reference.status import StatusError, invalid_argument, of_exception

MAX_ERROR_BYTES = 1024  # longer texts could overflow the header that carries them
MAX_MESSAGE_BYTES = 2**31 - 1
_GRPC_CODES = {code.value[0]: code for code in grpc.StatusCode}


def _abort(context: grpc.ServicerContext, status: StatusError) -> None:
    message = status.message.encode(errors="surrogateescape")
    if len(message) > MAX_ERROR_BYTES:
        message = message[:MAX_ERROR_BYTES] + b"...TRUNCATED"
    context.abort(_GRPC_CODES[status.number], message.decode(errors="replace"))


def _check_spec(request: Any) -> None:
    if not request.HasField("model_spec"):
        raise invalid_argument("Missing ModelSpec")


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Inference. A client's deadline becomes the time limit of the session run."""

    def __init__(self, core: ServerCore, settings: Settings) -> None:
        self._core = core
        self._settings = settings

    def Predict(self, request: Any, context: grpc.ServicerContext) -> Any:
        return self._counted("Predict", inference.predict, request, context)

    def Classify(self, request: Any, context: grpc.ServicerContext) -> Any:
        return self._counted("Classify", inference.classify, request, context)

    def Regress(self, request: Any, context: grpc.ServicerContext) -> Any:
        return self._counted("Regress", inference.regress, request, context)

    def MultiInference(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Not counted as a request, as upstream."""
        try:
            with self._core.handle_of_spec(request.tasks[0].model_spec if request.tasks else model_pb2.ModelSpec()) as (
                servable
            ):
                return inference.multi_inference(servable, request, self._settings_of(context))
        except Exception as error:
            _abort(context, of_exception(error))

    def GetModelMetadata(self, request: Any, context: grpc.ServicerContext) -> Any:
        try:
            _check_spec(request)
            inference.check_metadata_fields(list(request.metadata_field))
            with self._core.handle_of_spec(request.model_spec) as servable:
                return inference.metadata(servable)
        except Exception as error:
            _abort(context, of_exception(error))

    def _counted(
        self, api: str, call: Callable[[Any, Any, Settings], Any], request: Any, context: grpc.ServicerContext
    ) -> Any:
        started = time.monotonic()
        model = request.model_spec.name
        try:
            _check_spec(request)
            with self._core.handle_of_spec(request.model_spec) as servable:
                response = call(servable, request, self._settings_of(context))
        except Exception as error:
            status = of_exception(error)
            metrics.REQUEST_COUNT.add(model, status.code)
            _abort(context, status)
        metrics.REQUEST_LATENCY.observe(int((time.monotonic() - started) * 1e6), model, api, "GRPC")
        metrics.REQUEST_COUNT.add(model, "OK")
        return response

    def _settings_of(self, context: grpc.ServicerContext) -> Settings:
        remaining = context.time_remaining()
        # gRPC gives a far-away time where the client set no deadline.
        timeout_ms = 0 if remaining is None or remaining > 10**8 else max(1, int(remaining * 1000))
        return Settings(timeout_ms, self._settings.check_method_names, self._settings.as_tensor_content)


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """Status and configuration."""

    def __init__(self, core: ServerCore) -> None:
        self._core = core

    def GetModelStatus(self, request: Any, context: grpc.ServicerContext) -> Any:
        spec = request.model_spec
        try:
            _check_spec(request)
            version = spec.version.value if spec.HasField("version") else None
            return model_status(self._core.monitor, spec.name, version)
        except StatusError as error:
            _abort(context, error)

    def HandleReloadConfigRequest(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Apply a model list. The request may name counters, whose increase during the call is then answered."""
        response = model_management_pb2.ReloadConfigResponse()
        before = {name: metrics.REGISTRY.first_value(name) for name in request.metric_names}
        try:
            if request.config.WhichOneof("config") != "model_config_list":
                raise invalid_argument(
                    "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is "
                    "currently supported"
                )
            self._core.reload(request.config)
        except Exception as error:
            status = of_exception(error)
            log.error(f"ReloadConfig failed: {status.message}")
            _abort(context, status)
        for name, value in before.items():
            response.metric.add(name=name, int64_value_increase=metrics.REGISTRY.first_value(name) - value)
        return response


def create_server(
    core: ServerCore,
    settings: Settings,
    threads: int,
    channel_arguments: str,
    *,
    with_health: bool,
    with_profiler: bool,
) -> grpc.Server:
    """A server with all services registered and no address yet.

    threads is upstream's thread quota: one thread polls, the others each run a call. It must be positive.
    """
    options = [
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        *parse_channel_arguments(channel_arguments),
    ]
    server = grpc.server(admission.thread_pool(threads), options=options, interceptors=[admission.Admission(threads)])
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(PredictionService(core, settings), server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(core), server)
    if with_profiler:
        profiler.add_to_server(server)
    if with_health:
        health.add_to_server(server)
    return server


def parse_channel_arguments(text: str) -> list[tuple[str, int | str]]:
    """a=1,b=c -> [("a", 1), ("b", "c")]; a second equals sign cuts the value, as upstream's splitting does."""
    arguments: list[tuple[str, int | str]] = []
    for item in filter(None, text.split(",")):
        key, value = [*item.split("="), ""][:2]
        arguments.append((key, int(value) if value.lstrip("-").isdigit() else value))
    return arguments


def credentials(ssl_config: Any) -> grpc.ServerCredentials:
    """TLS as SSLConfig describes it; the fields hold PEM text, not file names."""
    return grpc.ssl_server_credentials(
        [(ssl_config.server_key.encode(), ssl_config.server_cert.encode())],
        root_certificates=ssl_config.custom_ca.encode() or None,
        require_client_auth=ssl_config.client_verify,
    )
