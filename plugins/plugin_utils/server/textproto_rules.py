# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Rules for files of TensorFlow Serving that parse but would not work, each with the consequence.

Source: model_servers/server.cc and server_core.cc, sources/storage_path, servables/tensorflow/bundle_factory_util.cc
and session_bundle_config.proto, at the surveyed tags. Every check gets the fields that are set (already of the right
types) and their path.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.defaults import MODELS
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError, described

from .batch_size import largest_batch
from .flag_rules import check_base_path, check_model_name

# The batch scheduler's own limit when max_batch_size is unset (bundle_factory_util, shared_batch_scheduler.h).
DEFAULT_MAX_BATCH_SIZE = 1000
# The same of the batches that may wait.
DEFAULT_MAX_ENQUEUED_BATCHES = 10

# Values of these messages never appear in an error: a private key in the wrong field must not reach a log.
SECRET_MESSAGES = {"SSLConfig"}

# Messages that exist but are not written here: problem, remedy.
REFUSED_MESSAGES = {
    "PlatformConfigMap": (
        "PlatformConfigMap is not written here: it switches off every flag that describes the platform",
        "use those flags, or keep the file by hand and name it in the flag platform_config_file",
    ),
    "ThreadPoolFactoryConfig": (
        "ThreadPoolFactoryConfig names a factory, and the released servers register none",
        "leave thread_pool_factory_config_file unset",
    ),
}


def _flag_wins(flag: str) -> tuple[str, str]:
    return "the server overwrites this field with a flag, even with the flag's default", f"use the flag {flag}"


# Fields that exist but that the released server cannot use: (message, field) -> problem, remedy.
REFUSED_FIELDS = {
    ("ModelServerConfig", "custom_model_config"): (
        "the released servers abort when they meet it",
        "use model_config_list",
    ),
    ("ModelConfig", "logging_config"): (
        "the released servers have no log collector and leave once every model is loaded",
        "leave it out and log requests in the gateway",
    ),
    ("ModelConfig", "model_type"): ("is deprecated and excludes model_platform", "write model_platform: tensorflow"),
    ("ConfigProto", "intra_op_parallelism_threads"): _flag_wins("tensorflow_intra_op_parallelism"),
    ("ConfigProto", "inter_op_parallelism_threads"): _flag_wins("tensorflow_inter_op_parallelism"),
    ("GPUOptions", "per_process_gpu_memory_fraction"): _flag_wins("per_process_gpu_memory_fraction"),
}

NO_SUCH_FIELD = "ModelConfig has no such field in any release, and the server would refuse the whole file"

# Fields that articles show but that never existed: (message, field) -> problem, remedy.
NOT_FIELDS = {
    ("ModelConfig", "platform_config"): (NO_SUCH_FIELD, "leave it out: a platform is set for the whole process"),
    ("ModelConfig", "gpu_options"): (NO_SUCH_FIELD, "write gpu_options to the file of tensorflow_session_config_file"),
    ("ModelConfig", "batching_parameters"): (NO_SUCH_FIELD, "write them to the file of batching_parameters_file"),
    ("ModelConfig", "version_policy"): (NO_SUCH_FIELD, "the field is model_version_policy"),
    ("ModelConfig", "versions"): (NO_SUCH_FIELD, "write model_version_policy: {specific: {versions: [...]}}"),
}


def check_model_list(data: Mapping[str, Any], path: str) -> None:
    """Refuse a model named twice: the server does not start."""
    first: dict[str, int] = {}
    for index, model in enumerate(data.get("config", [])):
        name = model["name"]
        if name in first:
            problem = f"{described(name)} is also the name of entry {first[name]}, and the server refuses duplicates"
            raise WishError(f"{path}.config[{index}].name", problem, "give each model its own name")
        first[name] = index


def check_model(data: Mapping[str, Any], path: str) -> None:
    """Refuse a model that would keep the server from starting, or that no request could reach."""
    for field, example in (("name", "ranker"), ("base_path", f"{MODELS}/ranker")):
        if not data.get(field):
            raise WishError(f"{path}.{field}", "every model needs one", f"write something like '{example}'")
    check_model_name(data["name"], f"{path}.name")
    check_base_path(data["base_path"], f"{path}.base_path")
    if data.get("model_platform") != "tensorflow":
        remedy = "write model_platform: tensorflow"
        raise WishError(f"{path}.model_platform", "the released servers know only the platform 'tensorflow'", remedy)
    _check_labels(data, f"{path}.version_labels")


def _check_labels(data: Mapping[str, Any], path: str) -> None:
    specific = data.get("model_version_policy", {}).get("specific") or {}  # null leaves a field unset
    served = specific.get("versions")
    for label, version in data.get("version_labels", {}).items():
        if not label:
            raise WishError(path, "a label is empty, so no request can name it", "use letters, digits and '_'")
        if served is not None and version not in served:
            problem = f"points at version {version}, and the policy serves {', '.join(map(str, served))}"
            raise WishError(f"{path}.{label}", problem, f"add {version} to the policy's versions or move the label")


def check_version_policy(data: Mapping[str, Any], path: str) -> None:
    """Refuse an empty policy; several at once are refused as members of one oneof."""
    if not data:
        raise WishError(path, "names no policy", "write one of latest, all and specific, or leave the field out")


def check_latest(data: Mapping[str, Any], path: str) -> None:
    """Refuse ``num_versions: 0``, which the server reads as 1."""
    if data.get("num_versions") == 0:
        raise WishError(f"{path}.num_versions", "0 means 1 to the server", "write 1, or take the model out of the list")


def check_specific(data: Mapping[str, Any], path: str) -> None:
    """Refuse a list without versions (it unloads the model) and versions that no REST path can name."""
    versions = data.get("versions")
    if not versions:
        raise WishError(f"{path}.versions", "without a version the server unloads the model", "name the versions")
    for index, version in enumerate(versions):
        if version < 0:
            raise WishError(f"{path}.versions[{index}]", f"{version} is below 0, no REST path can name it", "use 0 up")


def check_batching(data: Mapping[str, Any], path: str) -> None:
    """Refuse batching with which no model would load, or which never forms the batches it promises."""
    prefix = f"{path}." if path else ""
    for field, (low, why) in BATCHING_MINIMA.items():
        if field in data and data[field] < low:
            raise WishError(f"{prefix}{field}", f"{data[field]} is below {low}, and {why}", f"write {low} or more")
    _check_splitting(data, prefix)
    _check_allowed_sizes(data, prefix)


# field -> smallest value, what happens below it
BATCHING_MINIMA = {
    "max_batch_size": (1, "a batch must hold a request"),
    "batch_timeout_micros": (0, "a wait cannot be negative"),
    "max_enqueued_batches": (1, "a queue must hold a batch"),
    "num_batch_threads": (1, "the server does not start without a thread that runs batches"),
    "max_execution_batch_size": (1, "a batch must hold a request"),
}


def _check_splitting(data: Mapping[str, Any], prefix: str) -> None:
    if data.get("enable_large_batch_splitting"):
        if "max_batch_size" not in data:
            problem = "must be set when enable_large_batch_splitting is true: the server takes 0 for it"
            raise WishError(f"{prefix}max_batch_size", problem, "write the largest request to accept")
        if data.get("max_execution_batch_size", 0) > data["max_batch_size"]:
            problem = f"{data['max_execution_batch_size']} exceeds max_batch_size ({data['max_batch_size']})"
            raise WishError(f"{prefix}max_execution_batch_size", problem, "write at most max_batch_size")
        _check_room(data, prefix)
    elif "max_execution_batch_size" in data:
        problem = "is read only when enable_large_batch_splitting is true"
        remedy = "set enable_large_batch_splitting to true or leave this out"
        raise WishError(f"{prefix}max_execution_batch_size", problem, remedy)


def _check_room(data: Mapping[str, Any], prefix: str) -> None:
    """Refuse requests that not even an empty queue has room for (SchedulingCapacity in shared_batch_scheduler.h)."""
    largest, batch = data["max_batch_size"], largest_batch(data)
    waiting = data.get("max_enqueued_batches", DEFAULT_MAX_ENQUEUED_BATCHES)
    if largest > waiting * batch:
        needed = -(-largest // batch)
        problem = f"{largest} rows are {needed} batches of {batch}, and max_enqueued_batches lets {waiting} wait"
        remedy = f"write at most {waiting * batch}, or raise max_enqueued_batches"
        raise WishError(f"{prefix}max_batch_size", problem, remedy)


def _check_allowed_sizes(data: Mapping[str, Any], prefix: str) -> None:
    sizes = data.get("allowed_batch_sizes")
    if not sizes:
        return
    where = f"{prefix}allowed_batch_sizes"
    if sizes[0] < 1 or any(a >= b for a, b in zip(sizes, sizes[1:])):
        problem = f"{list(sizes)} does not rise from 1 or more, and the server takes the first entry that fits"
        raise WishError(where, problem, "write each size once, smallest first")
    largest = data.get("max_batch_size", DEFAULT_MAX_BATCH_SIZE)
    if sizes[-1] != largest:
        meant = "max_batch_size" if "max_batch_size" in data else "max_batch_size, unset and therefore"
        problem = f"ends in {sizes[-1]} and not in {meant} {largest}, so no model would load"
        raise WishError(where, problem, f"end the list in {largest} or set max_batch_size to {sizes[-1]}")
    batch = largest_batch({"max_batch_size": largest, **data})
    if batch not in sizes:
        fits = next(size for size in sizes if size > batch)
        problem = f"has no {batch}, so each full batch (max_execution_batch_size) is padded to {fits} rows"
        raise WishError(where, problem, f"add {batch} to the list")


def check_prometheus(data: Mapping[str, Any], path: str) -> None:
    """Refuse a metrics path that no request can match."""
    if "path" in data and not data["path"].startswith("/"):
        problem = f"{described(data['path'])} does not begin with '/', so no request matches it"
        raise WishError(f"{path}.path", problem, f"write '/{data['path']}'")


def check_tls(data: Mapping[str, Any], path: str) -> None:
    """Refuse anything but PEM text, usually a file name by mistake: the server would abort."""
    prefix = f"{path}." if path else ""
    for field in ("server_key", "server_cert"):
        if not data.get(field):
            raise WishError(f"{prefix}{field}", "TLS needs a key and a certificate", "write its PEM text")
    for field in ("server_key", "server_cert", "custom_ca"):
        if data.get(field) and "-----BEGIN " not in data[field]:
            problem = "is not PEM text (the server does not take a file name here)"
            raise WishError(f"{prefix}{field}", problem, "write the content of the PEM file")


def check_thread_pool(data: Mapping[str, Any], path: str) -> None:
    """Refuse a pool with a negative number of threads."""
    if data.get("num_threads", 0) < 0:
        problem = f"{data['num_threads']} is below 0, and a pool cannot have fewer than no threads"
        raise WishError(f"{path}.num_threads", problem, "write a count, or 0 to let TensorFlow choose")


CHECKS: dict[str, Callable[[Mapping[str, Any], str], None]] = {
    "ModelConfigList": check_model_list,
    "ModelConfig": check_model,
    "ServableVersionPolicy": check_version_policy,
    "ServableVersionPolicy.Latest": check_latest,
    "ServableVersionPolicy.Specific": check_specific,
    "BatchingParameters": check_batching,
    "PrometheusConfig": check_prometheus,
    "SSLConfig": check_tls,
    "ThreadPoolOptionProto": check_thread_pool,
}
