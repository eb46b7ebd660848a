# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""`make test`, taken apart: lint, unit tests, tests of the reference server and of sources, Molecule scenarios."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from fleet_lab import environment
from fleet_lab.build import debian, judge_packages
from fleet_lab.build.image import image
from fleet_lab.build.python_packages import host_runtime
from fleet_lab.config import Lab
from fleet_lab.errors import Stop
from fleet_lab.shell import openly
from fleet_lab.stages import Shown

# Scenarios that `make test` leaves to targets of their own: a compiler and emulated boots take minutes.
DRIVER_ASIDE = ("nvidia_driver_dkms",)
VM_ASIDE = ("vm_boots",)

# Scenarios of which `make test` runs a sample (molecule/conftest.py); `make test-long` runs them whole.
SAMPLED = (
    "failures",
    "runtime",
    "changes",
    "measure",
    "gateway",
    "rollout",
    "monitoring",
    "diagnosis",
    "adopt",
    "takeover",
)

# The same of tests that simulate: they ask tests/unit/support/simulated_queue.py how many runs to make.
SIMULATIONS = (
    *("tests/unit/plugin_utils/measure", "tests/unit/plugin_utils/rollout"),
    "tests/unit/playbooks/test_slices.py",
)

# The most telling first, then the longest, so that nothing long is left over when the others are done.
FIRST = ("default", *SAMPLED)

# Scenarios whose hosts run the other release of Debian when all are run: one with servers, one with a driver.
ON_THE_OTHER_RELEASE = ("alternative", "nvidia_driver")

# Scenarios with a host of each release at once.
ON_BOTH_RELEASES = ("gateway", "rollout", "monitoring")

# An emulated machine keeps one CPU busy and wants more at times, and its services have time limits: one at a time, and
# beside it one stage that is a single process.
EMULATED = ("molecule: vm", "molecule: vm_boots")
ONE_PROCESS = ("unit tests", "ansible-core ")  # as their names begin

# What tests of images, certificates, units and pages run for real.
UNIT_COMMANDS = {
    **{name: name for name in ("skopeo", "umoci", "openssl", "chromium")},
    "systemd-analyze": "systemd",
}

# What the Go and Java clients are built and run with: compilers, gRPC and protobuf.
CLIENT_PACKAGES = (
    *("protobuf-compiler", "libprotobuf-dev", "golang-go", "golang-google-grpc-dev", "golang-golang-x-sync-dev"),
    *("golang-github-golang-protobuf-1-5-dev", "golang-google-protobuf-dev", "protoc-gen-go-1-5", "protoc-gen-go-grpc"),
    *("default-jdk-headless", "libgrpc-java", "libprotobuf-java", "libnetty-java", "libperfmark-java", "libguava-java"),
    *("libgeronimo-annotation-1.3-spec-java", "libgoogle-gson-java", "protobuf-compiler-grpc-java-plugin"),
)

# What a scenario needs on this machine, with the packages that have it.
SCENARIO_COMMANDS = {
    "measure": {"chromium": "chromium", "h2load": "nghttp2-client"},
    "monitoring": {"chromium": "chromium"},
}
# Two scenarios of the other release need the same things, which only one of them is to make.
_PREPARING = threading.Lock()

UNIT_TESTS = ("tests/unit", "lab/tests")

# Below tests/unit: what meets ansible-core itself.
CORE_TESTS = ("action", "playbooks", "filter", "modules", "docs")
# `make test` leaves these to one release, `make floor` does not: a minute of openssl with little of ansible-core in it,
# and minutes of roll-outs in forty runs, of which ansible-core sees the same few keywords each time.
AT_LENGTH = ("playbooks/test_certificates.py", "playbooks/test_rollout.py", "playbooks/test_silences.py")

# A test that hangs ends the run with the stacks of all threads; the slowest ones take half a minute on two busy cores.
HANGING_TEST = ("-o", "faulthandler_timeout=300", "-o", "faulthandler_exit_on_timeout=true")
# A hundred simulated searches for a knee take minutes of CPU.
LONG_TEST = ("-o", "faulthandler_timeout=3600")

# What the ecosystem's own tools say of the checkout. flake8's rules are those of galaxy-importer.
JUDGES = {
    "licences": ["reuse", "lint", "--quiet"],
    "flake8": ["flake8", "--isolated", "--select=E,F,W", "--extend-ignore=E402", "--max-line-length=160", "plugins"],
    "plugin docs": [
        *("antsibull-docs", "lint-collection-docs", "--plugin-docs", "--skip-rstcheck"),
        *("--validate-collection-refs", "self", "."),
    ],
}

OLDEST = "2.19.4"  # the ansible-core of requirements/floor.txt


def lint(lab: Lab) -> list[Shown]:
    """Return a stage for every linter, quick ones first."""
    debian.need_commands({"shellcheck": "shellcheck"}, "the lint stage", lab.logs / "lint.log")
    commands = {
        "ruff": ["ruff", "check", "."],
        "formatting": ["ruff", "format", "--check", "."],
        "types": ["mypy"],
        "shellcheck": ["shellcheck", *shell_scripts(lab.root)],
        "yamllint": ["yamllint", "."],
        "role specs": ["python", "tools/check_role_specs.py"],
        "role docs": ["python", "tools/role_docs.py", "--check"],
        "fault docs": ["python", "tools/fault_docs.py", "--check"],
        "adoption docs": ["python", "tools/adoption_docs.py", "--check"],
        "task names": ["python", "tools/check_task_names.py"],
        "prose": ["python", "tools/check_prose.py"],
        "signal docs": ["python", "tools/signal_docs.py", "--check"],
        "tables": ["python", "tools/generate_tables.py", "--check"],
        "ansible-lint": ["ansible-lint"],
    }
    stages = [(f"lint: {name}", _command(lab, command)) for name, command in commands.items()]
    return [*stages, *((f"lint: {name}", _judge(lab, command)) for name, command in JUDGES.items())]


def unit(lab: Lab, whole: bool = True) -> list[Shown]:
    """Return the stage of the unit tests; those whose programs or libraries cannot be installed here are skipped.

    `make test` leaves the playbooks to the oldest and the newest ansible-core, but for what those leave out.
    """
    if debian.may_install():
        log = lab.logs / "unit.log"
        debian.need_commands(UNIT_COMMANDS, "the unit tests", log)
        if not list(Path("/usr/lib").glob("*/libjemalloc.so.2")):
            debian.install(["libjemalloc2"], "the unit tests", log)
    elsewhere = [] if whole else (lab.root / "tests" / "unit" / "playbooks").glob("test_*.py")
    ignored = [f"--ignore={path}" for path in sorted(elsewhere) if f"playbooks/{path.name}" not in AT_LENGTH]
    return [("unit tests", _pytest(lab, [lab.root / folder for folder in UNIT_TESTS], *ignored))]


def floor(lab: Lab, core: str | None = None, each: bool = True) -> list[Shown]:
    """Return stages for tests close to ansible-core, with meta/runtime.yml's oldest and each newer one that runs here.

    The other tests run with a release in between. `make test` uses the oldest and the newest.
    """
    known = [OLDEST, *judge_packages.installed_cores(lab)]
    if core is not None and core not in known:
        raise Stop(f"there is no ansible-core {core} here; known are: {', '.join(known)}")
    wanted = [core] if core is not None else known if each else [known[0], *known[1:][-1:]]
    skipped = () if each or core is not None else AT_LENGTH
    return [stage for name in wanted for stage in _on_core(lab, name, skipped)]


def _on_core(lab: Lab, core: str, skipped: Sequence[str] = ()) -> list[Shown]:
    """Return a stage for the syntax of all playbooks and for the tests of playbooks, actions and filters."""
    tools, env = lab.venv / "bin", {"LAB_RUNTIME": str(lab.runtime)}
    if core == OLDEST:
        env["PYTHONPATH"] = str(lab.floor)
    else:
        tools = judge_packages.folder(lab, f"core-{core}") / "bin"
        env["PATH"] = f"{tools}:{os.environ.get('PATH', os.defpath)}"
    tests = [str(lab.root / "tests" / "unit" / folder) for folder in CORE_TESTS]
    ignored = [f"--ignore={lab.root / 'tests' / 'unit' / path}" for path in skipped]
    playbooks = ["site.yml", *(str(path.relative_to(lab.root)) for path in sorted(lab.root.glob("playbooks/*.yml")))]
    syntax = [str(tools / "ansible-playbook"), "-i", "inventories/example", "--syntax-check", *playbooks]
    return [
        (f"ansible-core {core}: syntax", _command(lab, syntax, env)),
        (
            f"ansible-core {core}: tests",
            _command(lab, [str(tools / "python"), "-m", "pytest", *HANGING_TEST, *ignored, *tests], env),
        ),
    ]


def reference(lab: Lab) -> list[Shown]:
    return [("reference server tests", _pytest(lab, [lab.root / "lab" / "reference_server" / "tests"]))]


def sources(lab: Lab) -> list[Shown]:
    """Return the stage of the tests against real servers of models."""
    servers = judge_packages.folder(lab, "sources")
    return [("sources of models", _pytest(lab, [lab.root / "lab" / "sources" / "tests"], LAB_SOURCES=str(servers)))]


def clients(lab: Lab) -> list[Shown]:
    """Return the stage of the clients in all languages, of which the unit tests run Python's alone."""
    debian.install(list(CLIENT_PACKAGES), "the clients' tests", lab.logs / "clients.log")
    return [("clients", _pytest(lab, [lab.root / "tests" / "unit" / "clients"], LAB_CLIENTS="1"))]


def molecule(lab: Lab, scenario: str | None = None) -> list[Shown]:
    """Return one stage per scenario: all except those set aside, or the named one."""
    names = scenarios(lab.root)
    if scenario is not None:
        if scenario not in names:
            raise Stop(f"there is no scenario {scenario}; known are: {', '.join(names) or 'none'}")
        return [_scenario(lab, scenario)]
    names = [name for name in names if name not in DRIVER_ASIDE + VM_ASIDE]
    return [_scenario(lab.other_release() if name in ON_THE_OTHER_RELEASE else lab, name, lab.suite) for name in names]


def driver(lab: Lab) -> list[Shown]:
    """Return the stages that compile Debian's driver, and on this release those that `make test` runs on the other."""
    names = [name for name in scenarios(lab.root) if name.startswith("nvidia_driver")]
    return [_scenario(lab, name) for name in names if name in DRIVER_ASIDE + ON_THE_OTHER_RELEASE]


def long(lab: Lab) -> list[Shown]:
    """Return full runs of the scenarios and simulations of which `make test` runs a sample."""
    simulations = _pytest(lab, [lab.root / name for name in SIMULATIONS], *LONG_TEST, LAB_LONG="1")
    return [*(_scenario(lab, name, LAB_LONG="1") for name in SAMPLED), ("simulations", simulations)]


def vm(lab: Lab) -> list[Shown]:
    """Return the scenarios that need a kernel of their own, with all their boots."""
    return [_scenario(lab, name) for name in ("vm", *VM_ASIDE)]


def arranged(stages: Sequence[Shown]) -> list[Shown]:
    """Return the stages in the order to run them side by side; what may not run beside an emulated machine waits.

    Beside one emulated machine there is usually one that may, which takes longer, so that nothing has to wait.
    """
    emulated = [stage for stage in stages if stage[0] in EMULATED]
    beside = [stage for stage in stages if stage[0].startswith(ONE_PROCESS)] if emulated else []
    others = [stage for stage in stages if stage not in (*emulated, *beside)]
    over = [threading.Event() for _ in emulated]
    free = 1 if len(emulated) == 1 else 0
    return [
        *(_after(over[:place], stage, over[place:]) for place, stage in enumerate(emulated)),
        *beside[:free],
        *(_after(over, stage) for stage in (*beside[free:], *others)),
    ]


def _after(before: Sequence[threading.Event], stage: Shown, over: Sequence[threading.Event] = ()) -> Shown:
    """Return a stage that waits for what is before it, and says when it is over itself.

    :param over: its own event, and those of stages behind it, which will not begin if it fails.
    """
    name, work = stage

    def run(label: str) -> None:
        for each in before:
            each.wait()
        ended = over
        try:
            work(label)
            ended = over[:1]
        finally:
            for each in ended:
                each.set()

    return name, run


def scenarios(root: Path) -> list[str]:
    """Return the scenarios in molecule/, in the order to run them."""
    names = sorted(path.parent.name for path in root.glob("molecule/*/molecule.yml"))
    return sorted(names, key=lambda name: FIRST.index(name) if name in FIRST else len(FIRST))


def shell_scripts(root: Path) -> list[str]:
    """Return the shell scripts of the lab, of CI and of the examples, recognised by their first line."""
    folders = (root / "lab", root / "examples")
    files = [root / ".ci" / "run", *(file for folder in folders for file in sorted(folder.rglob("*")))]
    return [str(file.relative_to(root)) for file in files if file.is_file() and _is_shell(file)]


def _is_shell(path: Path) -> bool:
    with path.open("rb") as file:
        first_line = file.readline(80).rstrip()
    return first_line.startswith(b"#!") and first_line.endswith(b"sh")


def _pytest(lab: Lab, paths: list[Path], *options: str, **extra: str) -> Callable[[str], None]:
    present = [path for path in paths if path.is_dir()]
    # Not in PYTHONPATH: the runtime brings packages of its own, which must not hide those of .venv.
    runtime = str(lab.runtime)
    env = {"LAB_RUNTIME": runtime, "TFS_REFERENCE_RUNTIME": runtime, "TF_CPP_MIN_LOG_LEVEL": "2", **extra}
    return _command(lab, ["python", "-m", "pytest", *HANGING_TEST, *options, *map(str, present)], env)


def _scenario(lab: Lab, name: str, prepared: str = "", **extra: str) -> Shown:
    """Return a scenario on `lab`'s release of Debian, which the stage prepares unless it is the prepared one."""
    run = _command(lab, ["molecule", "test", "--scenario-name", name], {**environment.lab_platform(lab), **extra})
    is_prepared = prepared in ("", lab.suite)

    def prepare_and_run(label: str) -> None:
        with _PREPARING:
            debian.need_commands(SCENARIO_COMMANDS.get(name, {}), f"the scenario {name}", lab.logs / "scenario.log")
            if not is_prepared:
                host_runtime(lab)
                image(lab)
            if name in ON_BOTH_RELEASES:
                image(lab.other_release())
        run(label)

    return f"molecule: {name}" if is_prepared else f"molecule: {name} ({lab.suite})", prepare_and_run


def _judge(lab: Lab, command: list[str]) -> Callable[[str], None]:
    tools = judge_packages.folder(lab, "judges") / "bin"
    path = f"{tools}:{os.environ.get('PATH', os.defpath)}"
    return _command(lab, [str(tools / command[0]), *command[1:]], {"PATH": path})


def _command(lab: Lab, command: list[str], extra: dict[str, str] | None = None) -> Callable[[str], None]:
    env = {**environment.ansible(lab), **(extra or {})}
    program = lab.venv / "bin" / command[0]
    words = [str(program) if program.exists() else command[0], *command[1:]]
    return lambda label: openly(words, env, lab.root, label)
