# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Servers as people run them, in the shape that the module serving_survey returns.

The 22 were read in public repositories and written anew, with names of ours: 18 in which something has no effect, a
wrong one or a risky one, and 4 in which every word counts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

PROGRAM = "tensorflow_model_server"
SCRIPT = "/usr/bin/tf_serving_entrypoint.sh"
DIGEST = f"sha256:{'5a' * 32}"
TREE = "ab" * 32


def model(name: str = "ranker", base: str = "", versions: tuple[int, ...] = (3, 4), **keys: Any) -> dict[str, Any]:
    """Return a model as a survey found it on disk."""
    base = base or f"/models/{name}"
    return {
        "name": name,
        "base_path": base,
        "host_path": f"/srv/old{base}",
        "versions_on_disk": list(versions),
        "sha256": {str(version): TREE for version in versions},
        "size_mb": 12,
        "error": None,
        **keys,
    }


def serving(name: str = "ranker", *versions: int) -> list[dict[str, Any]]:
    """Return what a server said it serves."""
    return [{"model": name, "version": each, "state": "AVAILABLE", "error": ""} for each in versions or (4,)]


def server(*argv: str, **keys: Any) -> dict[str, Any]:
    """Return a running server, by default started by hand and without a fault."""
    return {
        "pid": 4711,
        "exe": f"/usr/bin/{PROGRAM}",
        "argv": [PROGRAM, *argv],
        "environment": {},
        "other_environment": [],
        "cwd": "/",
        "user": "serving",
        "root": "/",
        "started": 1764000000.0,
        "threads": 90,
        "rss_mb": 700,
        "allocator": "jemalloc",
        "cpus_allowed": "0-7",
        "cgroup": {"path": "/x", "cpu_max": None, "memory_max_mb": 8192, "cpuset": None},
        "limits": {"nofile": 65536},
        "origin": {"kind": "by_hand", "name": "", "unit": None, "container": None, "supervisor": None},
        "files": {},
        "models": [model()],
        "listening": [],
        "serves": serving(),
        "labels": None,
        "gpus": [],
        **keys,
    }


def unit(*argv: str, name: str = "ranker.service", restart: str = "always", **keys: Any) -> dict[str, Any]:
    """Return a server that a unit of systemd started."""
    more = {"Restart": restart, "User": keys.get("user", ""), "TimeoutStopSec": None, "enabled": True}
    origin = {"kind": "systemd", "name": name, "unit": more, "container": None, "supervisor": None}
    return server(*argv, origin=origin, **keys)


def container(**keys: Any) -> dict[str, Any]:
    """Return the container of a server of upstream's image."""
    return {
        "image": f"tensorflow/serving:2.15.0@{DIGEST}",
        "digest": DIGEST,
        "tag_floating": False,
        "privileged": False,
        "restart": "always",
        "ports": published(8500, 8501),
        "mounts": [{"source": "/srv/old/models", "target": "/models", "read_only": True}],
        "entrypoint": [SCRIPT],
        "command": [],
        "healthcheck": None,
        "cpus_quota": None,
        "memory_mb": None,
        "gpus": None,
        "network": "bridge",
        "compose": None,
        **keys,
    }


def published(grpc: int | None = None, rest: int | None = None, address: str = "127.0.0.1", **more: int) -> list[Any]:
    """Return published ports: of gRPC and REST, and others by their port in the container (``p8605=8605``)."""
    pairs = [(grpc, 8500), (rest, 8501), *((host, int(name[1:])) for name, host in more.items())]
    return [{"host_ip": address, "host_port": host, "port": port} for host, port in pairs if host]


def docker(*argv: str, inside: dict[str, Any] | None = None, kind: str = "docker", **keys: Any) -> dict[str, Any]:
    """Return a server that upstream's image started by its entrypoint, with ``argv`` behind the words of that."""
    variables = {"MODEL_NAME": "model", "MODEL_BASE_PATH": "/models", **keys.pop("environment", {})}
    name, base = variables["MODEL_NAME"], variables["MODEL_BASE_PATH"]
    own = ["--port=8500", "--rest_api_port=8501", f"--model_name={name}", f"--model_base_path={base}/{name}"]
    box = container(**(inside or {}))
    origin = {"kind": kind, "name": "tfs", "unit": None, "container": box, "supervisor": None}
    own = own if box["entrypoint"] == [SCRIPT] else []
    return server(*own, *argv, environment=variables, origin=origin, **keys)


def text(path: str, content: str) -> dict[str, Any]:
    """Return a file that a flag names."""
    return {"path": path, "host_path": f"/srv/old{path}", "text": content, "error": None}


def config(*names: str, more: str = "", base: str = "/models") -> str:
    """Return the text of a models file."""
    each = [
        f"config {{ name: '{name}' base_path: '{base}/{name}' model_platform: 'tensorflow' {more} }}" for name in names
    ]
    return f"model_config_list {{ {' '.join(each)} }}\n"


def survey(*servers: dict[str, Any], host: str = "gpu-a01", **keys: Any) -> dict[str, Any]:
    """Return the survey of a host."""
    return {"schema": 1, "host": host, "servers": list(servers), "launchers": [], "unread": [], **keys}


def files(names: tuple[str, ...] = ("ranker",), more: str = "", **others: str) -> dict[str, Any]:
    """Return the files of a server: its models, and others by their flag."""
    found = {"model_config_file": text("/models/models.config", config(*names, more=more))}
    return {**found, **{flag: text(f"/models/{flag}", content) for flag, content in others.items()}}


FLOATING = {"image": "tensorflow/serving", "digest": None, "tag_floating": True}
BATCHING = "max_batch_size { value: 32 } batch_timeout_micros { value: 1000 } num_batch_threads { value: 4 }"
CONFIGURED = "--model_config_file=/models/models.config"


@dataclass(frozen=True)
class Example:
    """A command line, and the kinds of findings that it must have: all of those that are wrong, without effect or
    risky."""

    name: str
    server: dict[str, Any]
    finds: tuple[str, ...]
    says: tuple[str, ...] = field(default=())


FAULTY = (
    Example(
        "01 a unit that runs as root, without a restart, on all addresses",
        unit(
            "--port=9000",
            "--model_name=inception",
            "--model_base_path=/srv/app/export/",
            restart="no",
            user="root",
            models=[model("inception", "/srv/app/export/")],
            serves=serving("inception"),
        ),
        ("network.exposed", "process.root", "restart.none"),
        ("its port is open on all addresses (9000)", "the unit has no Restart="),
    ),
    Example(
        "02 two models by the same flags twice",
        unit(
            "--port=9000",
            "--model_name=first",
            "--model_base_path=/srv/first",
            "--model_name=second",
            "--model_base_path=/srv/second",
            environment={"TF_FORCE_GPU_ALLOW_GROWTH": "true"},
            models=[model("second", "/srv/second")],
            serves=serving("second"),
            listening=[{"address": "127.0.0.1", "port": 9000, "kind": "grpc"}],
        ),
        ("word.repeated", "word.repeated"),
        ("--model_name=first has no effect, because a later word sets model_name to second",),
    ),
    Example(
        "03 supervisor and a file system of its own",
        server(
            "--port=8500",
            "--model_name=wide",
            "--model_base_path=hdfs://store/wide",
            origin={"kind": "supervisor", "name": "wide", "supervisor": {"stopwaitsecs": 60}},
            models=[model("wide", "hdfs://store/wide", (), host_path=None, error="it is no path")],
            serves=serving("wide"),
            listening=[{"address": "10.0.0.7", "port": 8500, "kind": "grpc"}],
        ),
        ("path.scheme",),
        ("wide is read from hdfs://store/wide, for which the server needs that file system in its build",),
    ),
    Example(
        "04 a container by nohup, with a log that nothing rotates",
        docker(
            CONFIGURED,
            "--model_config_file_poll_wait_seconds=60",
            "--allow_version_labels_for_unavailable_models=true",
            "--batching_parameters_file=/models/batching_parameters_file",
            "--enable_batching=true",
            inside={**FLOATING, "restart": "no", "ports": published(8500, 8501, "0.0.0.0")},
            files=files(more="version_labels { key: 'stable' value: 4 }", batching_parameters_file=BATCHING),
            log={"path": "/srv/logs/serving.log", "size_mb": 90, "rotated": False},
        ),
        ("image.floating", "log.grows", "network.exposed", "restart.none"),
        ("/srv/logs/serving.log grows forever", "the image tensorflow/serving is named by a tag that moves"),
    ),
    Example(
        "05 a flag of later releases and a tag that decides by the day",
        docker(
            "--xla_gpu_compilation_enabled=true",
            "--enable_batching=true",
            "--batching_parameters_file=/models/batching_parameters_file",
            CONFIGURED,
            inside={
                "image": "tensorflow/serving:latest-gpu",
                "tag_floating": True,
                "restart": "",
                "ports": published(8500),
            },
            files=files(batching_parameters_file=BATCHING),
            gpus=["GPU-0000"],
        ),
        ("image.floating", "restart.none", "word.since"),
        ("xla_gpu_compilation_enabled exists from 2.18.0 on, and nothing says which release this server is",),
    ),
    Example(
        "06 privileged, with a quota of CPUs",
        docker(
            CONFIGURED,
            "--grpc_channel_arguments=grpc.max_concurrent_streams=1000",
            "--per_process_gpu_memory_fraction=0.35",
            "--enable_batching=true",
            "--batching_parameters_file=/models/batching_parameters_file",
            "--tensorflow_session_parallelism=2",
            inside={"image": f"tensorflow/serving:2.7.0-gpu@{DIGEST}", "privileged": True, "cpus_quota": 1.5},
            files=files(batching_parameters_file=BATCHING),
            gpus=["GPU-0000"],
        ),
        ("container.privileged", "cpus.quota"),
        ("a quota of 1.5 CPUs, and pools sized for 8 CPUs", "the container is privileged"),
    ),
    Example(
        "07 a file by a relative path, and a queue without a bound",
        docker(
            CONFIGURED,
            "--port=8701",
            "--enable_batching=true",
            "--batching_parameters_file=models/batching.txt",
            "--grpc_channel_arguments=grpc.max_concurrent_streams=1000",
            "--per_process_gpu_memory_fraction=0.7",
            "--tensorflow_session_parallelism=2",
            inside={"ports": published(p8701=8701)},
            files={
                **files(),
                "batching_parameters_file": text(
                    "models/batching.txt", "max_batch_size {value:128}\nmax_enqueued_batches {value:1000000}\n"
                ),
            },
            gpus=["GPU-0000"],
        ),
        ("batching.unbounded", "path.relative"),
        ("max_enqueued_batches is 1000000, so 128000000 requests may wait",),
    ),
    Example(
        "08 an argument of gRPC that does not exist, one that is no number, and a flag twice",
        server(
            "--port=9000",
            "--rest_api_port=8501",
            CONFIGURED,
            "--model_config_file_poll_wait_seconds=60",
            "--grpc_channel_arguments=grpc.max_send_message_length=50*1024*1024",
            "--grpc_channel_arguments=grpc.max_receive_length=50*1024*1024",
            "--grpc_max_threads=1000",
            files=files(),
            origin={
                "kind": "docker",
                "name": "serving",
                "container": container(
                    image="example/serving-armv8:latest",
                    tag_floating=True,
                    entrypoint=[PROGRAM],
                    ports=published(None, 8501, p9000=9000),
                ),
            },
        ),
        ("channel.number", "channel.unknown", "image.floating", "word.repeated"),
        (
            "names grpc.max_receive_length, which gRPC does not know; did you mean 'grpc.max_receive_message_length'?",
            "sets grpc.max_send_message_length to 50*1024*1024, which is no whole number",
        ),
    ),
    Example(
        "09 a port in a word of its own",
        server("--rest_api_port", "8501", CONFIGURED, files=files(), serves=None, listening=[]),
        ("network.exposed", "restart.none", "word.separate"),
        ("--rest_api_port 8501 is no flag with a value: the server reads --name=value only, so rest_api_port stays 0",),
    ),
    Example(
        "10 the same behind another flag, from a script",
        docker(
            CONFIGURED,
            "--rest_api_port",
            "8501",
            inside={"entrypoint": ["/scripts/start.sh"], "ports": published(8500, 8501)},
            files=files(),
            serves=None,
        ),
        ("ports.nowhere", "word.separate"),
        ("8501 leads to 8501 of the container, where the server does not listen",),
    ),
    Example(
        "11 names and values as separate words of a list",
        server("--model_name", "ranker", "--model_base_path", "/models/ranker", models=[], serves=None),
        ("flag.stops", "network.exposed", "restart.none", "word.separate", "word.separate"),
        ("--model_name ranker is no flag with a value", "model_config_file is not set and neither is model_base_path"),
    ),
    Example(
        "12 one thread for REST, one for gRPC, and a folder that is looked at once",
        docker(
            "--port=8500",
            "--rest_api_port=8501",
            "--model_name=sarcasm",
            "--model_base_path=/models/sarcasm",
            "--tensorflow_session_parallelism=0",
            "--tensorflow_intra_op_parallelism=0",
            "--tensorflow_inter_op_parallelism=0",
            "--num_load_threads=0",
            "--num_unload_threads=0",
            "--rest_api_num_threads=1",
            "--grpc_max_threads=1",
            "--enable_batching=false",
            "--enable_model_warmup=false",
            "--file_system_poll_wait_seconds=0",
            "--flush_filesystem_caches=false",
            "--per_process_gpu_memory_fraction=0.1",
            inside={"entrypoint": ["/usr/local/bin/start.sh"], "image": "app:latest", "tag_floating": True},
            environment={"MODEL_NAME": "sarcasm", "TF_FORCE_GPU_ALLOW_GROWTH": "true"},
            models=[model("sarcasm")],
            serves=serving("sarcasm"),
        ),
        ("flag.range", "flag.range", "flag.range", "image.floating"),
        (
            "rest_api_num_threads is 1, and the event loop keeps one of these threads for itself",
            "grpc_max_threads is 1, and gRPC keeps one",
            "file_system_poll_wait_seconds is 0, and 0 looks for versions only once",
        ),
    ),
    Example(
        "13 a variable with blanks around its equals sign",
        docker(
            inside={
                "image": "tensorflow/serving:2.4.0-gpu",
                "restart": "no",
                "ports": published(8520, 8521, p8502=8522),
            },
            environment={"MODEL_NAME": "wide", "TF_FORCE_GPU_ALLOW_GROWTH ": " True"},
            models=[model("wide")],
            serves=serving("wide"),
            gpus=["GPU-0000"],
        ),
        ("env.name", "ports.nowhere", "restart.none"),
        ("is another one than TF_FORCE_GPU_ALLOW_GROWTH: its name holds blanks",),
    ),
    Example(
        "14 a variable that no server reads",
        docker(
            inside={"image": "example-serving-gpu", "tag_floating": True, "restart": "unless-stopped"},
            environment={"TF_FORCE_GPU_ALLOW_GROWTH": "true", "TF_GPU_MEMORY_FRACTION": "0.3"},
            models=[model("model")],
            serves=serving("model"),
            gpus=["GPU-0001"],
        ),
        ("env.dead", "image.floating"),
        ("nothing reads the variable TF_GPU_MEMORY_FRACTION; the flag is per_process_gpu_memory_fraction",),
    ),
    Example(
        "15 a platform file beside flags that it replaces",
        server(
            "--port=8500",
            CONFIGURED,
            "--platform_config_file=/models/platform.conf",
            "--per_process_gpu_memory_fraction=0.4",
            "--enable_batching=true",
            files={**files(), "platform_config_file": text("/models/platform.conf", "platform_configs { }")},
            origin={"kind": "systemd", "name": "chain.service", "unit": {"Restart": "always"}},
            listening=[{"address": "127.0.0.1", "port": 8500, "kind": "grpc"}],
            gpus=["GPU-0000"],
        ),
        ("word.platform", "word.swallowed"),
        (
            "platform_config_file makes the server ignore enable_batching, per_process_gpu_memory_fraction",
            "takes the place of 16 flags",
        ),
    ),
    Example(
        "16 a base path that ends in a version",
        server(
            "--rest_api_port=8605",
            "--model_name=beans",
            "--model_base_path=/work/models/1/",
            origin={
                "kind": "docker",
                "name": "beans",
                "container": container(entrypoint=["/bin/bash"], restart="always", ports=published(p8605=8605)),
            },
            models=[model("beans", "/work/models/1/", (), error=None)],
            serves=[],
        ),
        ("path.version",),
        ("the base path of beans, /work/models/1/, is the folder of a version",),
    ),
    Example(
        "17 a model's name beside a models file, and a health check that cannot fail",
        docker(
            CONFIGURED,
            "--model_config_file_poll_wait_seconds=60",
            kind="compose",
            environment={"MODEL_NAME": "shop"},
            inside={
                "image": "tensorflow/serving:latest",
                "tag_floating": True,
                "cpus_quota": 4.0,
                "restart": "",
                "ports": published(8500, 8501, "0.0.0.0"),
                "healthcheck": ["CMD", "curl", "-f", "http://localhost:8501/v1/models/shop"],
            },
            files=files(),
        ),
        ("cpus.quota", "env.model_name", "health.always", "image.floating", "network.exposed", "restart.none"),
        (
            "the variable MODEL_NAME has no effect: model_config_file names the models",
            "the health check asks http://localhost:8501/v1/models/shop, which answers 200 while nothing is loaded",
        ),
    ),
    Example(
        "18 a share of GPU memory for each GPU",
        server(
            "--port=50051",
            "--model_name=ranker",
            "--model_base_path=/models/ranker",
            "--per_process_gpu_memory_fraction=0.4",
            "--per_process_gpu_memory_fraction=0.8",
            gpus=["GPU-0000", "GPU-0001"],
            listening=[{"address": "127.0.0.1", "port": 50051, "kind": "grpc"}],
        ),
        ("restart.none", "word.repeated"),
        ("--per_process_gpu_memory_fraction=0.4 has no effect, because a later word sets",),
    ),
)

CLEAN = (
    Example(
        "19 a pinned release with a models file",
        docker(
            CONFIGURED,
            inside={"image": "tensorflow/serving:2.8.2", "ports": published(8500, None, "0.0.0.0")},
            files=files(("detector", "tracker")),
            models=[model("detector"), model("tracker")],
            serves=[*serving("detector"), *serving("tracker")],
            allocator="glibc",
            gpus=["GPU-0000"],
        ),
        ("network.exposed",),
    ),
    Example(
        "20 both pools of threads",
        docker(
            CONFIGURED,
            "--model_config_file_poll_wait_seconds=60",
            "--tensorflow_intra_op_parallelism=4",
            "--tensorflow_inter_op_parallelism=4",
            inside={**FLOATING, "restart": "no", "ports": published(8511, 8510, "0.0.0.0")},
            files=files(("sentences",)),
            models=[model("sentences")],
            serves=serving("sentences"),
        ),
        ("image.floating", "network.exposed", "restart.none"),
    ),
    Example(
        "21 twelve flags from the environment of a script",
        server(
            "--port=9500",
            "--rest_api_port=9501",
            "--model_config_file=/etc/serving/models.config",
            "--model_config_file_poll_wait_seconds=30",
            "--file_system_poll_wait_seconds=5",
            "--monitoring_config_file=monitoring.config",
            "--enable_model_warmup",
            "--num_load_threads=4",
            "--num_unload_threads=2",
            "--remove_unused_fields_from_bundle_metagraph",
            "--xla_cpu_compilation_enabled",
            "--tensorflow_session_parallelism=4",
            "--grpc_channel_arguments=grpc.enable_deadline_checking=1",
            other_environment=["NUM_LOAD_THREADS", "TENSORFLOW_SERVING_GRPC_PORT", "PATH"],
            files={
                "model_config_file": text("/etc/serving/models.config", config("ranker")),
                "monitoring_config_file": text(
                    "monitoring.config", "prometheus_config { enable: true path: '/metrics' }"
                ),
            },
            origin={"kind": "systemd", "name": "serving.service", "unit": {"Restart": "on-failure"}},
            cwd="/etc/serving",
        ),
        ("network.exposed", "path.relative"),
    ),
    Example(
        "22 a stack with all versions of one model",
        docker(
            CONFIGURED,
            "--model_config_file_poll_wait_seconds=60",
            kind="compose",
            inside={
                "image": "tensorflow/serving:2.15.0",
                "restart": "unless-stopped",
                "ports": published(8500, 8501, "::"),
            },
            files={
                "model_config_file": text(
                    "/models/models.config",
                    "model_config_list { config { name: 'mnist' base_path: '/models/mnist' model_platform: 'tensorflow'"
                    " model_version_policy { all { } } } config { name: 'images' base_path: '/models/images'"
                    " model_platform: 'tensorflow' model_version_policy { latest { num_versions: 1 } } } }",
                )
            },
            models=[model("mnist"), model("images")],
            serves=[*serving("mnist", 3, 4), *serving("images")],
        ),
        ("network.exposed",),
    ),
)
EXAMPLES = FAULTY + CLEAN
