# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The command line, with upstream's manners: --name=value only, unknown flags are printed and then ignored."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tfs_reference import process
from tfs_reference.version import as_tuple

_INTEGER = re.compile(r"\s*[+-]?\d+")
_RANGES = {"int32": (-(2**31), 2**31 - 1), "int64": (-(2**63), 2**63 - 1)}


@dataclass(frozen=True)
class Flag:
    """One flag; `default` may be a function of the CPUs in the affinity mask."""

    name: str
    kind: str  # bool, int32, int64, float, string
    default: Any
    usage: str
    since: str = "2.8.0"

    def default_value(self) -> Any:
        return self.default(process.schedulable_cpus()) if callable(self.default) else self.default


def _times(factor: int) -> Callable[[int], int]:
    return lambda cpus: factor * cpus


FLAGS = (
    Flag("port", "int32", 8500, "TCP port of the gRPC listener; 0 means none"),
    Flag("grpc_socket_path", "string", "", "UNIX socket of the gRPC listener"),
    Flag("rest_api_port", "int32", 0, "TCP port of the HTTP/REST listener; 0 means none"),
    Flag("rest_api_num_threads", "int32", _times(4), "threads of the HTTP/REST listener, its event loop included"),
    Flag("rest_api_timeout_in_ms", "int32", 30000, "time limit of the session run behind a REST call"),
    Flag("rest_api_enable_cors_support", "bool", False, "add CORS headers to REST replies"),
    Flag("enable_batching", "bool", False, "batch requests in the server"),
    Flag(
        "allow_version_labels_for_unavailable_models",
        "bool",
        False,
        "allow unused labels on versions that are not available yet",
    ),
    Flag("batching_parameters_file", "string", "", "BatchingParameters in text format"),
    Flag("model_config_file", "string", "", "ModelServerConfig in text format"),
    Flag("model_config_file_poll_wait_seconds", "int32", 0, "period at which model_config_file is applied again"),
    Flag("model_name", "string", "default", "name of the single model"),
    Flag("model_base_path", "string", "", "base path of the single model"),
    Flag("num_load_threads", "int32", 0, "threads that load; 0 loads in the manager's own loop"),
    Flag("num_unload_threads", "int32", 0, "threads that unload; 0 unloads in the manager's own loop"),
    Flag("max_num_load_retries", "int32", 5, "load attempts after a first failure"),
    Flag("load_retry_interval_micros", "int64", 60_000_000, "pause between load attempts"),
    Flag("file_system_poll_wait_seconds", "int32", 1, "period at which base paths are listed"),
    Flag("flush_filesystem_caches", "bool", True, "flush TensorFlow's file system caches after loads"),
    Flag("tensorflow_session_parallelism", "int64", 0, "size of both the intra-op and the inter-op pool"),
    Flag("tensorflow_session_config_file", "string", "", "ConfigProto in text format"),
    Flag("tensorflow_intra_op_parallelism", "int64", 0, "size of the intra-op pool"),
    Flag("tensorflow_inter_op_parallelism", "int64", 0, "size of the inter-op pool"),
    Flag("use_alts_credentials", "bool", False, "ALTS credentials for gRPC"),
    Flag("ssl_config_file", "string", "", "SSLConfig in text format"),
    Flag("platform_config_file", "string", "", "PlatformConfigMap in text format"),
    Flag("per_process_gpu_memory_fraction", "float", 0.0, "share of GPU memory"),
    Flag("saved_model_tags", "string", "serve", "comma separated tags of the MetaGraphDef to load"),
    Flag("grpc_channel_arguments", "string", "", "comma separated key=value arguments of the gRPC server"),
    Flag("grpc_max_threads", "int32", _times(4), "upper bound of gRPC server threads"),
    Flag("enable_model_warmup", "bool", True, "replay the warm-up requests shipped with a version"),
    Flag("num_request_iterations_for_warmup", "int32", 0, "runs of each warm-up request"),
    Flag("version", "bool", False, "print the version and leave"),
    Flag("monitoring_config_file", "string", "", "MonitoringConfig in text format"),
    Flag("remove_unused_fields_from_bundle_metagraph", "bool", True, "keep only the signatures of a MetaGraphDef"),
    Flag("prefer_tflite_model", "bool", False, "use model.tflite where present"),
    Flag("num_tflite_pools", "int32", _times(1), "interpreter pools of a TFLite session"),
    Flag("num_tflite_interpreters_per_pool", "int32", 1, "interpreters of a TFLite pool"),
    Flag("enable_signature_method_name_check", "bool", False, "refuse calls whose signature has another method"),
    Flag("xla_cpu_compilation_enabled", "bool", False, "allow XLA on the CPU"),
    Flag("enable_profiler", "bool", True, "register the profiler service"),
    Flag("thread_pool_factory_config_file", "string", "", "ThreadPoolFactoryConfig in text format"),
    Flag("enable_per_model_batching_parameters", "bool", False, "read batching_params.pbtxt of each version", "2.11.0"),
    Flag("mixed_precision", "string", "", "bfloat16 switches auto mixed precision on", "2.15.1"),
    Flag("skip_initialize_tpu", "bool", False, "skip the TPU's initialisation", "2.15.1"),
    Flag("enable_grpc_healthcheck_service", "bool", False, "register the gRPC health service", "2.15.1"),
    Flag("xla_gpu_compilation_enabled", "bool", False, "allow XLA on the GPU", "2.18.0"),
    Flag("enable_serialization_as_tensor_content", "bool", False, "answer in tensor_content", "2.19.0"),
)


class BadValueError(Exception):
    """A known flag was given a value that its type does not allow."""


@dataclass
class Parsed:
    """The values of all flags of this version, and the arguments that no flag took."""

    values: dict[str, Any]
    unknown: list[str] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        try:
            return self.values[name]
        except KeyError:
            raise AttributeError(name) from None


def known_flags(version: str) -> tuple[Flag, ...]:
    return tuple(flag for flag in FLAGS if as_tuple(flag.since) <= as_tuple(version))


def parse(arguments: list[str], version: str) -> Parsed:
    """Read the command line; flags newer than `version` are as unknown as misspelt ones (their defaults still hold).

    Raises BadValueError, and BadValueError for --help too: upstream treats both alike (usage, exit status 255).
    """
    by_name = {flag.name: flag for flag in known_flags(version)}
    parsed = Parsed({flag.name: flag.default_value() for flag in FLAGS})
    for argument in arguments:
        name, equals, text = argument.removeprefix("--").partition("=")
        flag = by_name.get(name) if argument.startswith("--") else None
        if argument == "--help":
            raise BadValueError("help asked for")
        if flag and equals:
            parsed.values[name] = _value(flag, text)
        elif flag and flag.kind == "bool":
            parsed.values[name] = True
        else:
            parsed.unknown.append(argument)
    return parsed


def usage(program: str, version: str) -> str:
    lines = [f"usage: {program}", "Flags:"]
    for flag in known_flags(version):
        default = flag.default_value()
        shown = str(default).lower() if flag.kind == "bool" else f'"{default}"' if flag.kind == "string" else default
        lines.append(f"\t{f'--{flag.name}={shown}':<32}\t{flag.kind}\t{flag.usage}")
    return "\n".join(lines) + "\n"


def _value(flag: Flag, text: str) -> Any:
    if flag.kind == "string":
        return text
    if flag.kind == "bool":
        return _boolean(flag, text)
    return _float(flag, text) if flag.kind == "float" else _integer(flag, text)


def _boolean(flag: Flag, text: str) -> bool:
    if text.lower() in ("true", "1"):
        return True
    if text.lower() in ("false", "0"):
        return False
    raise _bad(flag, text)


def _integer(flag: Flag, text: str) -> int:
    low, high = _RANGES[flag.kind]
    if _INTEGER.fullmatch(text) and low <= int(text) <= high:
        return int(text)
    raise _bad(flag, text)


def _float(flag: Flag, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise _bad(flag, text) from None


def _bad(flag: Flag, text: str) -> BadValueError:
    return BadValueError(f"Couldn't interpret value {text} for flag {flag.name}.")


def print_out(text: str) -> None:
    """Usage and start-up failures go to standard output, as upstream does it."""
    sys.stdout.write(text)
    sys.stdout.flush()
