# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The command line: the stages of each command, in order."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from fleet_lab import bench, clean, docs, ee, environment, hosts, locking, sanity, testing
from fleet_lab.build import judge_packages
from fleet_lab.build.image import current_tag, image
from fleet_lab.build.models import bench_models, models
from fleet_lab.build.packages import packages
from fleet_lab.build.python_packages import floor, runtime, venv
from fleet_lab.build.server_images import server_images
from fleet_lab.build.server_source import content_key, server_source
from fleet_lab.build.snapshot import snapshot
from fleet_lab.config import HOSTS, Lab
from fleet_lab.engine import engine
from fleet_lab.errors import Stop
from fleet_lab.shell import openly
from fleet_lab.stages import Shown, Stages

ROOT = Path(__file__).resolve().parents[2]

Suite = Callable[[], list[Shown]]

INVENTORY = ["-i", "inventories/lab"]

# Suites that `make test` leaves to targets of their own.
OWN_TARGETS = ("driver", "ee", "sanity", "long", "vm", "clients")

# name: (stages that come first, the stage itself, what help says)
PARTS: dict[str, tuple[tuple[str, ...], Callable[[Lab], str], str]] = {
    "venv": ((), venv, "the tools, in .venv"),
    "engine": ((), engine, "a container engine that answers"),
    "runtime": (("venv",), runtime, "TensorFlow for the reference server, in the cache"),
    "judges": (("venv",), judge_packages.judges, "the tools that judge a collection, in the cache"),
    "model-servers": (
        ("venv",),
        judge_packages.model_servers,
        "MLflow and moto for the tests of sources, in the cache",
    ),
    "cores": ((), judge_packages.cores, "the newer ansible-cores that a Python here runs, in the cache"),
    "floor": (("venv",), floor, "the oldest ansible-core that the collection runs with, in the cache"),
    "image": (("engine",), image, "the image of a lab host"),
    "models": (("runtime",), models, "the models that the lab serves"),
    "bench-models": (("runtime",), bench_models, "the models of benchmarks, and of Molecule scenarios that measure"),
    "packages": ((), packages, "the reference server's packages in a signed repository"),
    "images": (("image", "packages"), server_images, "the reference server's container images, for Molecule scenarios"),
    "source": (("packages",), server_source, "where the hosts get the server from"),
    "network": (("engine",), hosts.network, "the lab's network"),
    "services": (
        ("venv", "engine", "runtime", "image", "models", "source", "network"),
        lambda lab: hosts.package_server(lab, current_tag(lab)),
        "http://packages.lab/, which hosts and Molecule scenarios need",
    ),
    "snapshot": (("engine",), snapshot, "a host that serves, as an image; wants `services` to run"),
    "up": (
        ("services",),
        lambda lab: hosts.hosts(lab, current_tag(lab), content_key(lab)),
        f"the hosts {' and '.join(HOSTS)}",
    ),
    "down": ((), clean.down, "removes the hosts and the network"),
    "clean": ((), clean.clean_lab, "removes all that the lab made"),
    "distclean": ((), clean.distclean, "... and .venv and TensorFlow too"),
}
TITLES = {
    "image": "host image",
    "images": "server images",
    "source": "server source",
    "bench-models": "bench models",
    "services": "package server",
    "up": "lab hosts",
}


def order(names: Sequence[str]) -> list[str]:
    """Return the stages to run for these, each once, after those it needs."""
    result: list[str] = []
    for name in names:
        for needed in order(PARTS[name][0]):
            if needed not in result:
                result.append(needed)
        if name not in result:
            result.append(name)
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    stages = Stages()
    try:
        lab = Lab.from_environment(ROOT)
        options.command(lab, stages, options)
    except Stop as stop:
        _close(stages, options)
        if stop.details:
            print(stop.details, file=sys.stderr)
        print(f"lab: {stop}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("lab: interrupted; what is finished is kept, run the same command again", file=sys.stderr)
        return 130
    _close(stages, options)
    return 0


def _close(stages: Stages, options: argparse.Namespace) -> None:
    if len(stages.done) > 1:
        print(f"\n{stages.table()}")
    if options.name == "test":
        failed = sum(not stage.passed for stage in stages.done)
        print(f"stages: {len(stages.done) - failed} passed, {failed} failed")
    sys.stdout.flush()


def _prepare(lab: Lab, stages: Stages, *names: str) -> None:
    """Run these stages and those they need, unless they have run already."""
    finished = {stage.name for stage in stages.done}
    for name in order(names):
        title = TITLES.get(name, name)
        if title not in finished:
            stages.run(title, partial(PARTS[name][1], lab))


def _part(lab: Lab, stages: Stages, options: argparse.Namespace) -> None:
    _prepare(lab, stages, options.name)


def _demo(lab: Lab, stages: Stages, _options: argparse.Namespace) -> None:
    _prepare(lab, stages, "up")
    stages.show("site.yml", partial(_playbook, lab, "site.yml"))


def _playbook(lab: Lab, name: str) -> None:
    if not (lab.root / name).is_file():
        raise Stop(f"{name} is missing; restore it from the repository")
    openly([lab.venv / "bin" / "ansible-playbook", *INVENTORY, name], environment.ansible(lab), lab.root)


def _test(lab: Lab, stages: Stages, options: argparse.Namespace) -> None:
    """Run the test suites, quick and telling ones first: an early failure should not wait for containers."""
    suites = {
        "lint": (("venv", "judges"), lambda: testing.lint(lab)),
        "unit": (("venv", "runtime"), lambda: testing.unit(lab, bool(options.suites))),
        "floor": (
            ("venv", "runtime", "floor", "cores"),
            lambda: testing.floor(lab, options.core, bool(options.suites)),
        ),
        "sample": (("venv",), lambda: sanity.sample(lab)),
        "sanity": (("venv", "judges", "cores"), lambda: sanity.sanity(lab, options.core)),
        "reference": (("venv", "runtime"), lambda: testing.reference(lab)),
        "sources": (("venv", "model-servers"), lambda: testing.sources(lab)),
        "clients": (("venv", "runtime"), lambda: testing.clients(lab)),
        "molecule": (("services", "images", "bench-models"), lambda: testing.molecule(lab, options.scenario)),
        "ee": (("venv", "judges", "up"), lambda: ee.ee(lab, current_tag(lab))),
        "driver": (("services",), lambda: testing.driver(lab)),
        "long": (("services", "images"), lambda: testing.long(lab)),
        "vm": (("venv",), lambda: testing.vm(lab)),
    }
    unknown = set(options.suites) - set(suites)
    if unknown:
        raise Stop(f"there is no suite {', '.join(sorted(unknown))}; known are: {', '.join(suites)}")
    wanted = options.suites or [name for name in suites if name not in OWN_TARGETS]
    if "lint" in wanted:
        _run_suites(lab, stages, [suites["lint"]])
    _run_suites(lab, stages, [suites[name] for name in wanted if name != "lint"])


def _run_suites(lab: Lab, stages: Stages, suites: Sequence[tuple[tuple[str, ...], Suite]]) -> None:
    """Prepare what these suites need, then run their stages side by side, emulated machines beside few others."""
    _prepare(lab, stages, *(name for needs, _work in suites for name in needs))
    wanted = [stage for _needs, work in suites for stage in work()]
    stages.show_all(testing.arranged(wanted), lab.jobs)


def _bench(lab: Lab, stages: Stages, options: argparse.Namespace) -> None:
    _prepare(lab, stages, "venv", "runtime", "models", "bench-models")
    for title, run in bench.benchmarks(lab, options.names):
        stages.show(title, run)


def _fuzz(lab: Lab, stages: Stages, options: argparse.Namespace) -> None:
    _prepare(lab, stages, "venv", "runtime")
    command: list[str | Path] = [lab.python, lab.root / "tools" / "fuzz_inventories.py", *shlex.split(options.options)]
    environ = {**environment.ansible(lab), "LAB_RUNTIME": str(lab.runtime)}
    stages.show("fuzz", lambda: openly(command, environ, lab.root))


def _lock(lab: Lab, stages: Stages, _options: argparse.Namespace) -> None:
    _prepare(lab, stages, "venv")
    stages.run("lock", lambda: locking.lock(lab))


def _docs(lab: Lab, stages: Stages, _options: argparse.Namespace) -> None:
    _prepare(lab, stages, "venv")
    stages.run("docs", lambda: docs.docs(lab))


def _tables(lab: Lab, stages: Stages, _options: argparse.Namespace) -> None:
    _prepare(lab, stages, "venv")
    command = [lab.python, lab.root / "tools" / "generate_tables.py"]
    stages.show("tables", lambda: openly(command, environment.ansible(lab), lab.root))


def _env(lab: Lab, _stages: Stages, _options: argparse.Namespace) -> None:
    print(environment.exports({**environment.ansible(lab), **environment.lab_platform(lab)}))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lab.py", description="Builds, runs and removes the lab (see lab/README.md).")
    commands = parser.add_subparsers(dest="name", required=True, metavar="COMMAND")
    for name, (_needs, _work, text) in PARTS.items():
        commands.add_parser(name, help=text).set_defaults(command=_part)
    commands.add_parser("demo", help="the lab, and site.yml on it").set_defaults(command=_demo)
    commands.add_parser("env", help="the variables for Molecule and playbooks, for eval").set_defaults(command=_env)
    commands.add_parser("docs", help="writes the roles' READMEs from their argument specs").set_defaults(command=_docs)
    commands.add_parser("tables", help="writes the tables of flags and messages from tools/survey/").set_defaults(
        command=_tables
    )
    commands.add_parser("lock", help="pins the Python requirements, after a change of requirements/*.in").set_defaults(
        command=_lock
    )
    test = commands.add_parser(
        "test", help="lint, unit tests, tests of the reference server and of sources, Molecule scenarios"
    )
    test.add_argument(
        "suites", nargs="*", metavar="SUITE", help="lint, unit, reference, sources, molecule (default: all)"
    )
    test.add_argument("--scenario", metavar="NAME", help="only this Molecule scenario")
    test.add_argument("--core", metavar="RELEASE", help="only this ansible-core, for floor and sanity")
    test.set_defaults(command=_test)
    benchmark = commands.add_parser("bench", help="the benchmarks in lab/bench/")
    benchmark.add_argument("names", nargs="*", metavar="NAME", help="only these (default: all)")
    benchmark.set_defaults(command=_bench)
    fuzz = commands.add_parser("fuzz", help="inventories at random (tools/fuzz_inventories.py)")
    fuzz.add_argument("options", nargs="?", default="", help="for the program: ' --inventories 1000 --seed 1'")
    fuzz.set_defaults(command=_fuzz)
    return parser
