# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Settings of the server process: flags, environment, models file, monitoring file and start timeout."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError

from ..server import flags as server_flags
from ..wishes.read import InstanceWish, ModelWish
from . import sandbox
from .gpu_memory import FLAG as FRACTION_FLAG
from .gpus import Gpu
from .reasons import Sheet
from .schema import Figures
from .swaps import load_seconds
from .threads import FLAGS as THREAD_FLAGS

# Flags that would contradict a key of the wishes, and that key.
OWNED = {
    "port": "set ports.grpc of the instance",
    "rest_api_port": "set ports.rest of the instance",
    "model_config_file": "list the models in models of the instance",
    "model_name": "list the models in models of the instance",
    "model_base_path": "list the models in models of the instance",
    "enable_batching": "set batching.enabled of the instance",
    "batching_parameters_file": "set the fields under batching of the instance",
    "monitoring_config_file": "leave it out; metrics are always on",
    "ssl_config_file": "set tfserving_tls, tfserving_tls_certificate and tfserving_tls_key",
    "tensorflow_session_parallelism": "set tensorflow_intra_op_parallelism and tensorflow_inter_op_parallelism",
    # It would silently disable every flag that the plan relies on: threads, batching, GPU memory, warm-up.
    "platform_config_file": "leave it out; it would switch off the threads, batching and memory of the plan",
}

# Where systemd gives the unit its copy of a file that only root can read (systemd.exec(5), LoadCredential=).
CREDENTIAL = "/run/credentials/tfserving@{name}.service/ssl.config"

# A version that cannot be loaded fails the same way each time: its files are verified and local. Retries only help when
# memory was short for a moment. Upstream's 5 retries a minute apart take five minutes to report a broken version.
LOAD_RETRIES = 2
LOAD_RETRY_MICROS = 5_000_000

ALLOCATOR_REASON = "jemalloc gives back the memory of unloaded models, which glibc keeps (tensorflow/serving#2142)"

# Start of the process: its libraries, its pools and the first scan of the models.
START_SECONDS = 60
# CUDA contexts, and kernels that the driver compiles at first use (Hopper runs from PTX: the releases list compute_90).
GPU_START_SECONDS = 120
# A model of unknown size gets the time for about 12 GB.
UNKNOWN_MODEL_SECONDS = 120


def flags(
    sheet: Sheet, wish: InstanceWish, plan: Figures, models: list[ModelWish], policy: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the complete flags of an instance, checked against the server's release.

    ``plan`` holds the figures settled before: ports, threads, batching and gpu_memory_fraction.
    """
    _refuse_owned(wish)
    folder = f"{policy['paths']['config']}/{wish.name}"
    result: dict[str, Any] = {
        "port": plan["ports"]["grpc"],
        "rest_api_port": plan["ports"]["rest"],
        "model_config_file": f"{folder}/models.config",
        "monitoring_config_file": f"{folder}/monitoring.config",
    }
    threads: Mapping[str, object] = plan["threads"]
    for pool, flag in THREAD_FLAGS.items():
        result[flag] = threads[pool]
    if plan["batching"]:
        result["enable_batching"] = True
        result["batching_parameters_file"] = f"{folder}/batching.config"
    if policy["tls"]:
        result["ssl_config_file"] = CREDENTIAL.format(name=wish.name)
    if plan["gpu_memory_fraction"] is not None:
        result[FRACTION_FLAG] = plan["gpu_memory_fraction"]
    result.update(_settled(sheet, wish, policy))
    if wish.flags:
        _check_wished(sheet, wish, result, models, policy)
    return result


def _refuse_owned(wish: InstanceWish) -> None:
    for flag in wish.flags:
        if flag in OWNED:
            raise WishError(f"{wish.path}.flags.{flag}", "is set by the plan", OWNED[flag])


def _settled(sheet: Sheet, wish: InstanceWish, policy: Mapping[str, Any]) -> dict[str, Any]:
    """Return the flags that follow from the policy alone."""
    planned: dict[str, tuple[Any, str]] = {
        "enable_profiler": (
            policy["profiler"],
            "the profiler answers anyone who reaches the port, without authentication",
        ),
        "model_config_file_poll_wait_seconds": (
            policy["poll_seconds"],
            "a changed models file takes effect within this time, without a restart",
        ),
        "file_system_poll_wait_seconds": (
            1,
            "a published version is seen within a second; listing local directories costs nothing",
        ),
        "max_num_load_retries": (
            LOAD_RETRIES,
            "a broken version fails alike each time; retries help where memory was short",
        ),
        "load_retry_interval_micros": (
            LOAD_RETRY_MICROS,
            f"a broken version is reported after {LOAD_RETRIES * LOAD_RETRY_MICROS // 1_000_000} s, not five minutes",
        ),
        # Set even without labels, so that adding the first label is a hot reload, not a restart.
        "allow_version_labels_for_unavailable_models": (
            True,
            "labels are checked before anything is loaded, so a server with labels would not start without it",
        ),
    }
    return {
        flag: sheet.settle(f"flags.{flag}", value, reason, wish.flags.get(flag))
        for flag, (value, reason) in planned.items()
    }


def _check_wished(
    sheet: Sheet, wish: InstanceWish, result: dict[str, Any], models: list[ModelWish], policy: Mapping[str, Any]
) -> None:
    """Add the user's other flags and check that all of them work together."""
    for flag, value in wish.flags.items():
        if flag not in result:
            result[flag] = sheet.settle(f"flags.{flag}", None, "the server's default is right", value)
    path = f"{wish.path}.flags"
    permitted = policy["allow_unsurveyed_release"]
    server_flags.check(result, policy["version"], path, allow_unsurveyed=permitted)
    if result["model_config_file_poll_wait_seconds"] == 0:
        raise WishError(
            f"{path}.model_config_file_poll_wait_seconds",
            "is 0, so no change of the models would ever arrive",
            "use 1 or more",
        )
    labelled = any(model.serve.get("labels") for model in models)
    if labelled and not result["allow_version_labels_for_unavailable_models"]:
        raise WishError(
            f"{path}.allow_version_labels_for_unavailable_models",
            "is false, and a server with labels would not start",
            "remove it, or the labels",
        )


def environment(
    sheet: Sheet, wish: InstanceWish, gpus: list[Gpu], shared: bool, gpu_host: bool, site: Mapping[str, Any]
) -> dict[str, str]:
    """Return the variables of the server's process.

    ``shared``: another instance uses its GPUs. ``gpu_host``: the host has GPUs, for this instance or not. ``site``: the
    host's ``allocator`` (the variables that preload it) and ``release``.
    """
    planned = {name: (value, ALLOCATOR_REASON) for name, value in site["allocator"].items()}
    if gpus:
        visible = ",".join(str(gpu.identity) for gpu in gpus)
        planned["CUDA_DEVICE_ORDER"] = ("PCI_BUS_ID", "GPU numbers as nvidia-smi shows them")
        planned["CUDA_VISIBLE_DEVICES"] = (visible, "the GPUs of this instance and no others")
        planned.update(sandbox.environment(wish.name, site["release"]["chroot"]))
        if not shared and FRACTION_FLAG not in wish.flags:
            reason = "its GPUs are its own: memory is taken as models need it, and monitoring shows how much that is"
            planned["TF_FORCE_GPU_ALLOW_GROWTH"] = ("true", reason)
    elif gpu_host:
        # Otherwise a build with CUDA would open a context on every GPU of the host.
        planned["CUDA_VISIBLE_DEVICES"] = ("-1", "an instance without GPUs touches none")
    result = {
        name: sheet.settle(f"environment.{name}", value, reason, wish.environment.get(name))
        for name, (value, reason) in planned.items()
    }
    for name, value in wish.environment.items():
        if name not in result:
            result[name] = sheet.settle(f"environment.{name}", None, "nothing asks for it", value)
    return result


def model_config(models: list[ModelWish], root: str) -> dict[str, Any]:
    """Return the ModelServerConfig message as plain data."""
    return {"model_config_list": {"config": [_one_model(model, root) for model in models]}}


def _one_model(model: ModelWish, root: str) -> dict[str, Any]:
    result: dict[str, Any] = {
        "name": model.name,
        "base_path": f"{root}/{model.name}",
        "model_platform": "tensorflow",
        "model_version_policy": _version_policy(model.serve),
    }
    if model.serve.get("labels"):
        result["version_labels"] = dict(model.serve["labels"])
    return result


def _version_policy(serve: Mapping[str, Any]) -> dict[str, Any]:
    if "versions" in serve:
        return {"specific": {"versions": list(serve["versions"])}}
    return {"all": {}} if "all" in serve else {"latest": {"num_versions": serve["latest"]}}


def start_timeout_s(sheet: Sheet, models: list[ModelWish], on_gpu: bool) -> int:
    """Return the start timeout: no port opens until all models are loaded."""
    seconds = START_SECONDS + GPU_START_SECONDS * on_gpu + LOAD_RETRIES * LOAD_RETRY_MICROS // 1_000_000
    unknown = [model.name for model in models if model.memory_mb is None]
    for model in models:
        each = UNKNOWN_MODEL_SECONDS if model.memory_mb is None else load_seconds(model.memory_mb)
        seconds += each * model.resident()
    guess = f", {UNKNOWN_MODEL_SECONDS} s for a version of unknown size" if unknown else ""
    gpu = f", {GPU_START_SECONDS} s for CUDA" if on_gpu else ""
    sheet.reasons["start_timeout_s"] = f"{START_SECONDS} s for the process{gpu}, then the models at 100 MB/s{guess}"
    return -(-seconds // 10) * 10
