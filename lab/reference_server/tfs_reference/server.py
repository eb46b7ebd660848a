# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The start of the server in upstream's order: check files and flags, load all models, then open the ports."""

from __future__ import annotations

import gc
import sys
import threading
from typing import Any

from tfs_reference import log, process, runtime, textproto
from tfs_reference.flags import Parsed
from tfs_reference.status import StatusError, invalid_argument
from tfs_reference.version import as_tuple, server_version

DEFAULT_METRICS_PATH = "/monitoring/prometheus/metrics"
# The interpreter's switch interval bounds how long a request that converts JSON can hold up one that is ready to go.
SWITCH_INTERVAL_SECONDS = 0.001
# From this version on a wrong allowed_batch_sizes fails loads; before, it failed the start.
_LATE_BATCH_SIZE_CHECK = (2, 10)


class Server:
    """Build it with the flags, `start` it, then `wait` for ever."""

    def __init__(self, flags: Parsed) -> None:
        self._flags = flags
        self._grpc: Any = None

    def start(self) -> None:
        """Raises StatusError; aborts where upstream's checks are fatal."""
        flags = self._flags
        self._check_flags()
        model_config = self._model_config()
        parameters = self._batching_parameters()
        session_config = runtime.session_config(flags)
        sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
        # From here on the runtime is loaded; a wrong flag or file was told without that delay.
        self._core = self._create_core(parameters, session_config)
        self._core.reload(model_config)
        self._refuse_thread_pool_factory()
        self._start_grpc()
        self._start_config_polling()
        self._start_rest()

    def has_listener(self) -> bool:
        """Whether a failed start left the process serving (upstream then waits for that listener for ever)."""
        return self._grpc is not None

    def wait(self) -> None:
        threading.Event().wait()

    # -- checks ------------------------------------------------------------------------------------------------------

    def _check_flags(self) -> None:
        flags = self._flags
        if flags.port == 0 and not flags.grpc_socket_path:
            raise invalid_argument("server_options.grpc_port is not set.")
        if flags.use_alts_credentials and flags.ssl_config_file:
            raise invalid_argument("Either use_alts_credentials or ssl_config_file can be set, not both.")
        if not flags.model_base_path and not flags.model_config_file:
            raise invalid_argument(
                "Both server_options.model_base_path and server_options.model_config_file are empty!"
            )
        if flags.use_alts_credentials:
            raise StatusError("UNIMPLEMENTED", "the reference server has no ALTS credentials")

    def _model_config(self) -> Any:
        flags = self._flags
        if flags.model_config_file:
            return textproto.read(flags.model_config_file, "ModelServerConfig")
        log.info(
            "Building single TensorFlow model file config:  "
            f"model_name: {flags.model_name} model_base_path: {flags.model_base_path}"
        )
        config = textproto.new("ModelServerConfig")
        config.model_config_list.config.add(
            name=flags.model_name, base_path=flags.model_base_path, model_platform="tensorflow"
        )
        return config

    def _batching_parameters(self) -> Any | None:
        """BatchingParameters, or None when the server does not batch."""
        flags = self._flags
        if flags.platform_config_file:
            raise StatusError(
                "UNIMPLEMENTED", "the reference server does not read platform_config_file; use the single flags"
            )
        if not flags.enable_batching:
            if flags.batching_parameters_file:
                raise invalid_argument(
                    "server_options.batching_parameters_file is set without setting "
                    "server_options.enable_batching to true."
                )
            return None
        if flags.batching_parameters_file:
            return textproto.read(flags.batching_parameters_file, "BatchingParameters")
        parameters = textproto.new("BatchingParameters")
        parameters.thread_pool_name.value = "model_server_batch_threads"
        return parameters

    def _refuse_thread_pool_factory(self) -> None:
        if self._flags.thread_pool_factory_config_file:
            raise StatusError("NOT_FOUND", "No thread pool factory is registered in this server")

    # -- models ------------------------------------------------------------------------------------------------------

    def _create_core(self, parameters: Any | None, session_config: Any) -> Any:
        from tfs_reference import batching, core, loading

        # The runtime's modules are hundreds of thousands of objects that never become garbage: without this, every full
        # collection would stop all requests while it walks them.
        gc.collect()
        gc.freeze()
        flags = self._flags
        scheduler = batching.Scheduler.of(parameters) if parameters is not None else None
        if scheduler and as_tuple(server_version()) < _LATE_BATCH_SIZE_CHECK:
            batching.Options.of(parameters)
        if flags.mixed_precision and flags.mixed_precision != "bfloat16":
            log.warning(f"config.mixed_precision()= {flags.mixed_precision} is not supported")
        loader = loading.Loader(
            session_config=session_config,
            tags=flags.saved_model_tags.split(","),
            batching_parameters=parameters,
            scheduler=scheduler,
            per_model_batching=flags.enable_per_model_batching_parameters,
            warmup=flags.enable_model_warmup,
            warmup_iterations=flags.num_request_iterations_for_warmup,
        )
        options = core.Options(
            poll_seconds=flags.file_system_poll_wait_seconds,
            load_threads=flags.num_load_threads,
            unload_threads=flags.num_unload_threads,
            retries=flags.max_num_load_retries,
            retry_seconds=flags.load_retry_interval_micros / 1e6,
            labels_for_unavailable=flags.allow_version_labels_for_unavailable_models,
        )
        return core.ServerCore(options, loader)

    def _start_config_polling(self) -> None:
        seconds = self._flags.model_config_file_poll_wait_seconds
        if self._flags.model_config_file and seconds > 0:
            process.start_thread(self._poll_config, "PollFilesystemAndReloadConfig", seconds)

    def _poll_config(self, seconds: int) -> None:
        """Apply the file again and again, changed or not; a bad file leaves the former config in force."""
        pause = threading.Event()
        while not pause.wait(seconds):
            try:
                self._core.reload(textproto.read(self._flags.model_config_file, "ModelServerConfig"))
            except StatusError as error:
                log.error(f"PollFilesystemAndReloadConfig failed to ReloadConfig: {error}")

    # -- listeners ---------------------------------------------------------------------------------------------------

    def _settings(self, timeout_ms: int) -> Any:
        from tfs_reference.inference import Settings

        flags = self._flags
        content = flags.enable_serialization_as_tensor_content
        return Settings(max(0, timeout_ms), flags.enable_signature_method_name_check, content)

    def _start_grpc(self) -> None:
        from tfs_reference import grpc_services

        flags = self._flags
        if flags.grpc_max_threads < 1:
            log.fatal(
                "No thread quota available to even create the minimum required polling threads (i.e 1). "
                "Unable to start the thread manager"
            )
        server = grpc_services.create_server(
            self._core,
            self._settings(0),
            flags.grpc_max_threads,
            flags.grpc_channel_arguments,
            with_health=flags.enable_grpc_healthcheck_service,
            with_profiler=flags.enable_profiler,
        )
        credentials = self._credentials()
        # 0.0.0.0 is fixed in upstream's code: no flag narrows it.
        addresses = [f"0.0.0.0:{flags.port}"] if flags.port else []
        if flags.grpc_socket_path:
            addresses.append(f"unix:{flags.grpc_socket_path}")
        for address in addresses:
            _bind(server, address, credentials)
        server.start()
        self._grpc = server
        for address in addresses:
            log.info(f"Running gRPC ModelServer at {address} ...")

    def _credentials(self) -> Any | None:
        from tfs_reference import grpc_services

        if not self._flags.ssl_config_file:
            return None
        try:
            return grpc_services.credentials(textproto.read(self._flags.ssl_config_file, "SSLConfig"))
        except StatusError as error:
            log.fatal(f"Non-OK-status: ParseProtoTextFile(file, &proto) status: {error}")

    def _start_rest(self) -> None:
        from tfs_reference.http_server import HttpServer
        from tfs_reference.rest import RestApi

        flags = self._flags
        if not flags.rest_api_port:
            return
        if flags.rest_api_port == flags.port:
            log.error(
                "server_options.http_port cannot be same as grpc_port. Please use a different port for HTTP/REST API. "
                "Skipped exporting HTTP/REST API."
            )
            return
        api = RestApi(
            self._core,
            self._settings(flags.rest_api_timeout_in_ms),
            self._metrics_path(),
            flags.rest_api_enable_cors_support,
        )
        if flags.rest_api_num_threads < 1:
            log.fatal(f"Check failed: num_threads >= 1 (1 vs. {flags.rest_api_num_threads})")
        address = f"localhost:{flags.rest_api_port}"
        try:
            HttpServer(flags.rest_api_port, flags.rest_api_num_threads, api).start()
        except OSError as error:
            log.error(f"Failed to start HTTP Server at {address} ({error.strerror})")
            return
        log.info(f"Exporting HTTP/REST API at:{address} ...")

    def _metrics_path(self) -> str | None:
        file = self._flags.monitoring_config_file
        if not file:
            return None
        prometheus = textproto.read(file, "MonitoringConfig").prometheus_config
        return (prometheus.path or DEFAULT_METRICS_PATH) if prometheus.enable else None


def _bind(server: Any, address: str, credentials: Any | None) -> None:
    try:
        bound = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
    except RuntimeError:
        bound = 0
    if not bound:
        raise invalid_argument("Failed to BuildAndStart gRPC server")
