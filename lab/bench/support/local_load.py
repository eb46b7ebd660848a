# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Load on reference servers of this machine, by the collection's own benchmark: one CPU serves, another one sends.

The plan of a server is the planner's, for a made-up host with a single CPU. Call importable() before anything else.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from support import lab_models, local_server

COLLECTION = "ansible_collections.tfserving.fleet.plugins"
PLACES = (lab_models.ROOT / "collections", lab_models.ROOT / "tests" / "unit" / "support")
SLO_MS = 50.0
# What default settings serve: the highest version in the folder.
VERSION = 2
# Digests of secrets need a key; these plans have no secrets.
KEY = "0" * 32
HOST_MB = 8192
MODEL_MB = 128
# A request of wide_ranker is a handful of items; of the others, one.
ITEMS = {"wide_ranker": 4}
MODELS = ("dense", "sequence", "simulated_device", "wide_ranker")
WARMUP_S = 3
FIRST_REQUESTS = 10
NAME = "this machine"
COMMAND_S = 600
# What the generator takes beside its stage; then it is looked for often. It ends by itself when nobody has looked for
# 20 s (module_utils/load/keepalive.py).
PROCESS_S = 0.3
SHORT_LOOK_S, LONG_LOOK_S = 0.1, 5.0
# The generator is the stopwatch: what it waits for a CPU would be counted as the server's. Without the right to do so,
# nice goes on with a warning.
STOPWATCH = ("nice", "--adjustment=-15")


def importable() -> None:
    """Let the collection be imported, the made-up machines of its tests, and the lab's runtime.

    A bench that is told to end, by `timeout` for example, ends like one that is interrupted: with its servers, which
    would take the CPU of the next one.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.path[:0] = map(str, PLACES)
    lab_models.importable()


def part(name: str) -> ModuleType:
    """A module of the collection by its name below plugins/."""
    return __import__(f"{COLLECTION}.{name}", fromlist=["_"])


def server_cpu() -> int:
    """The last CPU: the first one takes most interrupts."""
    return max(os.sched_getaffinity(0))


def client_cpus() -> set[int]:
    """The others, or the only one there is."""
    return os.sched_getaffinity(0) - {server_cpu()} or {server_cpu()}


def arguments(doc: str | None, models: Iterable[str] = MODELS) -> argparse.ArgumentParser:
    """What every benchmark of servers can be asked."""
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("--model", action="append", choices=list(models), help="this model only; may be repeated")
    return parser


def tell(line: str) -> None:
    """Progress, beside the figures."""
    print(line, file=sys.stderr, flush=True)


def context(model: str, **wish: Any) -> Any:
    """What the planner is given for a host with one CPU that serves one model (tuning.space.Context)."""
    import machines

    machine = machines.topology(sockets=1, cores=1, smt=1, memory_mb=HOST_MB)
    instance = {"name": model, "models": [model], "slo_p99_ms": SLO_MS, **wish}
    source = {"type": "path", "uri": f"/srv/{model}"}
    wanted = {"name": model, "version": VERSION, "memory_mb": MODEL_MB, "source": source}
    policy = {"paths": {"models": str(lab_models.FOLDER)}}
    return part("plugin_utils.tuning.space").Context(machine, [instance], [wanted], policy, KEY, model)


def default_flags(model: str) -> list[str]:
    """What the documentation of TensorFlow Serving starts a server with, besides its ports."""
    return [f"--model_name={model}", f"--model_base_path={lab_models.FOLDER / model}"]


def planned_flags(plan: Mapping[str, Any], folder: Path) -> list[str]:
    """The arguments of a planned instance besides its ports, with the files that they name in `folder`."""
    textproto, version = part("plugin_utils.server.textproto"), plan["server"]["version"]
    flags = {**plan["flags"], "model_config_file": str(folder / "models.config")}
    files = {"models.config": (plan["model_config"], "ModelServerConfig")}
    if plan["batching"]:
        flags["batching_parameters_file"] = str(folder / "batching.config")
        files["batching.config"] = (plan["batching"], "BatchingParameters")
    for name, (content, message) in files.items():
        (folder / name).write_text(textproto.render(content, message, version=version), encoding="utf-8")
    for name in ("port", "rest_api_port", "monitoring_config_file"):  # LocalServer has its own
        flags.pop(name, None)
    return part("plugin_utils.server.flags").arguments(flags, version)


@contextmanager
def serving(model: str, plan: Mapping[str, Any] | None) -> Iterator[local_server.LocalServer]:
    """A server on its CPU with a plan's settings, or with default ones, until the block ends."""
    with tempfile.TemporaryDirectory(prefix="fleet-bench-") as folder:
        flags = planned_flags(plan, Path(folder)) if plan else default_flags(model)
        with local_server.running(Path(folder), *flags, cpu=server_cpu()) as server:
            _warm(model, server)
            yield server


def _warm(model: str, server: local_server.LocalServer) -> None:
    """Send a few requests one after another: the first run of a graph takes longer than many later ones, and would
    leave a queue to a load that has no CPU to spare."""
    known = json.loads((lab_models.FOLDER / model / "known_answers.json").read_text(encoding="utf-8"))
    # No more items than the load sends: a grid has settings whose batches hold no more.
    items = known["request"]["instances"][: ITEMS.get(model, 1)]
    request = local_server.rest_request(model, json.dumps({**known["request"], "instances": items}).encode())
    connection = local_server.RestConnection(server.rest_port)
    for _ in range(FIRST_REQUESTS):
        connection.call(request)


def target(model: str, server: local_server.LocalServer | None = None) -> dict[str, Any]:
    """A server as a benchmark sees its target; with `ports` it can be moved to another server."""
    plan = context(model).planned()
    found = {
        "name": NAME,
        "instance": model,
        "host": "127.0.0.1",
        "metrics": plan["monitoring"]["prometheus_config"]["path"],
        "models": [model],
        "model": model,
        "probe": {},
        "signature": None,
        "slots": 1,
        "batched": plan["batching"] is not None,
        "secured": False,
        "slo_ms": SLO_MS,
        "plan_digest": plan["digest"],
        "conditions": {},
    }
    return {**found, **ports(server)} if server else found


def ports(server: local_server.LocalServer) -> dict[str, int]:
    return {"grpc": server.grpc_port, "rest": server.rest_port}


def asked(model: str, purpose: str = "benchmark", **options: Any) -> Any:
    """The options of a benchmark or a tuning of this model (benchmark.options.Options)."""
    given = {"instance": model, "protocol": "rest", "warmup": WARMUP_S, "items": ITEMS.get(model, 1), **options}
    return part("plugin_utils.benchmark.options").read(given, purpose)


@contextmanager
def team() -> Iterator[Any]:
    """The load generator on the CPUs beside the server's (benchmark.team.Team)."""
    runner = part("plugin_utils.benchmark.runner")
    with tempfile.TemporaryDirectory(prefix="fleet-load-") as folder:
        program = Path(folder) / "load.zip"
        program.write_bytes(part("plugin_utils.benchmark.program").archive())
        path = f"{program}{os.pathsep}{lab_models.RUNTIME}"  # grpc comes from the lab's runtime
        place = runner.Place(NAME, _run, _put, sys.executable, path, folder)
        crew = part("plugin_utils.benchmark.crew").Crew(Path(folder), NAME, [NAME])
        try:
            yield _patient(crew, place)
        finally:
            runner.interrupt(place)


def _patient(crew: Any, place: Any) -> Any:
    """A team of this machine alone that looks for the end of a stage when there should be one.

    A user wants progress each second. Here each look would cost the generator's own CPU some milliseconds, and a
    whole second at the end of a stage of two.
    """
    runner = part("plugin_utils.benchmark.runner")

    class Patient(part("plugin_utils.benchmark.team").Team):  # type: ignore[misc]
        stages = 0

        def run(self, specs: Any, seconds: float, progress: Any) -> Any:
            self.stages += 1
            (spec,) = specs
            found: dict[str, Any] = {}
            for step in runner.measure(self._place, "run", spec, seconds, sleep=_until_over(spec)):
                if found:
                    progress(found)
                found = step
            return found

    return Patient(crew, place, [NAME])


def _until_over(spec: Mapping[str, Any]) -> Callable[[float], None]:
    """What sleeps between two looks: long ones until a stage should be over, then short ones."""
    over = time.monotonic() + PROCESS_S + spec["start_in_s"] + spec["warmup_s"] + spec["duration_s"]
    return lambda _usual: time.sleep(min(max(over - time.monotonic(), SHORT_LOOK_S), LONG_LOOK_S))


def load(options: Any, where: dict[str, Any], together: Any) -> Any:
    """Load on a running server (benchmark.load.Load), of requests made from its signature."""
    conduct, mix = part("plugin_utils.benchmark.conduct"), part("plugin_utils.benchmark.mix")
    seen = conduct.look(together, options, where)
    sent = mix.requests(options, where, seen[0]["metadata"])
    cores = [each["cores"] for each in seen]
    return part("plugin_utils.benchmark.load").Load(options, where, sent.bodies, together, cores, tell)


def _run(command: str) -> Any:
    cpus = ",".join(map(str, sorted(client_cpus())))
    words = [*STOPWATCH, "taskset", "--cpu-list", cpus, "sh", "-c", command]
    done = subprocess.run(words, capture_output=True, text=True, timeout=COMMAND_S, check=False)
    return part("plugin_utils.benchmark.runner").Answer(done.returncode, done.stdout, done.stderr)


def _put(path: str, text: str) -> None:
    Path(path).write_text(text, encoding="utf-8")
