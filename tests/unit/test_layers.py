# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Which way imports go, and how much each module ships to hosts.

Three floors: modules, actions and filters on top; below them plugin_utils, for the controller alone; below that
module_utils, which hosts are sent as well. On each floor packages stand in the order of these tables and import what
stands before them, never what stands behind.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest
from repository import REPOSITORY

PLUGINS = REPOSITORY / "plugins"
COLLECTION = "ansible_collections.tfserving.fleet.plugins"

HOSTS = [
    *("visible_text", "cpu_list", "defaults", "errors", "refusals", "scalars", "unit_text"),
    *("disk", "web", "tree", "host", "kernel", "nvidia", "driver", "gpus", "topology"),
    *("load", "optimizer", "saved_model", "golden", "serving", "gate", "models", "releases", "bundle", "evidence"),
    *("gateway", "monitoring", "trial", "collector", "alerts", "diagnosis", "survey", "unchanged"),
]
CONTROLLER = [
    *(
        "action",
        "caller",
        "turn",
        "phrases",
        "tables",
        "server",
        "driver",
        "sources",
        "models",
        "wishes",
        "preload",
        "planner",
    ),
    *(
        "cache",
        "gateway",
        "templates",
        "bundle",
        "fleet",
        "report",
        "measure",
        "rollout",
        "benchmark",
        "builder",
        "tuning",
        "profiling",
        "optimization",
        "progress",
        "slices",
    ),
    *("signals", "monitoring", "diagnosis", "adoption"),
]

# The most files of module_utils that each module may ship. Lower a figure whenever it falls; raising one wants a reason
# in the commit's message.
SHIPPED = {
    "adopt": 0,
    "adopt_share": 0,
    "adopt_takeover": 0,
    "alert_silence": 6,
    "apt_restore": 0,
    "benchmark": 0,
    "benchmark_report": 0,
    "benchmark_target": 0,
    "benchmark_wishes": 0,
    "builder_environment": 0,
    "bundle_collect": 25,
    "bundle_files": 12,
    "bundle_manifest": 6,
    "cpu_partition": 16,
    "diagnosis": 0,
    "diagnosis_evidence": 44,  # all that a diagnosis reads, in one call
    "diagnosis_keep": 0,
    "diagnosis_probe": 0,
    "driver_foreseen": 0,
    "driver_plan": 0,
    "fleet_answers": 0,
    "fleet_hosts": 0,
    "fleet_turn": 0,
    "fleet_unchanged": 141,  # all that a whole run compares, in one call
    "gate": 20,
    "gateway_cache": 14,
    "gateway_cache_report": 14,
    "gateway_calls": 14,
    "gateway_capacity": 0,
    "gateway_plan": 0,
    "gateway_probe": 9,
    "gateway_state": 14,
    "golden_answers": 15,  # with what reads answers by type, and the probe's HTTP/2
    "gpu_clients": 9,
    "host_check": 0,
    "host_plan": 0,
    "host_samples": 32,  # with the lock of the run, whose end is theirs
    "host_topology": 40,
    "instance_status": 23,  # with golden requests, whose answers are read by type, and what the gates say
    "instance_trial": 58,  # with a sample of the host for each stage and the gate of its instance, in the same call
    "jemalloc_trial": 0,
    "kernel_settings": 11,
    "load_program": 0,
    "model_headroom": 30,
    "model_peer": 27,
    "model_repository": 53,  # with warm-up records, which are encoded by the signature on the host
    "model_status": 19,
    "model_waves": 0,
    "monitoring_plan": 0,
    "monitoring_proof": 9,
    "monitoring_state": 25,
    "nvidia_driver_state": 24,
    "nvidia_gpu_settings": 24,
    "nvidia_gpu_status": 24,
    "package_holds": 9,
    "optimize_model": 0,
    "optimize_speed": 0,
    "plan_record": 9,
    "profile": 0,
    "profile_report": 0,
    "report": 0,
    "rollout_back": 0,
    "rollout_return": 37,  # record, share and servers in the one call that a rollback waits for
    "rollout_servers": 13,
    "rollout_watch": 0,
    "rollout_course": 0,
    "rollout_state": 11,
    "run_lock": 3,
    "server_release": 25,
    "server_releases_prune": 12,
    "server_state": 14,
    "serving_group": 5,
    "serving_idle": 9,
    "serving_instances": 53,  # with the gates, and the status that a run ends with: it needs no further call
    "serving_survey": 46,  # all that is read of old servers, in one call
    "serving_takeover": 29,  # it looks who runs before and after, as the survey does
    "signing_key": 18,
    "template_tree": 14,
    "tune": 0,
    "wishes": 0,
}

# Lines in the functions of a module, filter or action; what is more is logic, which is tested without Ansible.
THICKEST = 60

Imports = tuple[tuple[str, bool], ...]


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(PLUGINS).with_suffix("").parts)


@cache
def files() -> dict[str, Path]:
    return {name_of(path): path for path in sorted(PLUGINS.rglob("*.py"))}


@cache
def imports(name: str) -> Imports:
    """Return what a file imports of the collection, by name, and whether it says so relatively."""
    found: list[tuple[str, bool]] = []
    for node in ast.walk(ast.parse(files()[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            base = base_of(name, node)
            for alias in node.names if base is not None else ():
                whole = f"{base}.{alias.name}".strip(".")
                known = next(
                    (each for each in (whole, f"{whole}.__init__", base, f"{base}.__init__") if each in files()), ""
                )
                assert known, f"{name} imports {whole}, which is nowhere"
                found.append((known, node.level > 0))
    return tuple(found)


def base_of(name: str, node: ast.ImportFrom) -> str | None:
    """Return the package that an import of the collection names, below plugins; None for others."""
    if node.level:
        above = name.split(".")[: -node.level]
        return ".".join([*above, *(node.module or "").split(".")]).strip(".")
    module = node.module or ""
    return module[len(COLLECTION) + 1 :] if module == COLLECTION or module.startswith(f"{COLLECTION}.") else None


def shipped(name: str) -> set[str]:
    """Return the files of module_utils that a module takes to a host."""
    found: set[str] = set()
    todo = [name]
    while todo:
        for each, _ in imports(todo.pop()):
            if each not in found:
                found.add(each)
                todo.append(each)
    return found


def room(name: str) -> tuple[str, str]:
    """Return the floor of a file and its package there, or its own name where it stands in none."""
    floor, _, rest = name.partition(".")
    return floor, rest.partition(".")[0]


MAY_USE = {
    "module_utils": {"module_utils"},
    "plugin_utils": {"plugin_utils", "module_utils"},
    "modules": {"module_utils"},
}


@pytest.mark.parametrize("name", files())
def test_imports_go_down(name):
    floor, package = room(name)
    for used, _ in imports(name):
        below, other = room(used)
        assert below in MAY_USE.get(floor, {"plugin_utils", "module_utils"}), f"{name} imports {used}"
        order = {"module_utils": HOSTS, "plugin_utils": CONTROLLER}.get(floor)
        if order and below == floor and package != other:
            assert order.index(other) < order.index(package), f"{name} imports {used}, which stands behind it"


@pytest.mark.parametrize("name", files())
def test_imports_are_relative_within_a_floor_and_nowhere_else(name):
    floor, _ = room(name)
    for used, is_relative in imports(name):
        assert is_relative == (room(used)[0] == floor), f"{name} imports {used}"


@pytest.mark.parametrize("name", files())
def test_no_file_imports_itself_by_a_circle(name):
    if not name.endswith("__init__"):
        assert name not in shipped(name)


@pytest.mark.parametrize("path", [path for path in files().values() if path.name == "__init__.py"], ids=name_of)
def test_a_package_for_hosts_holds_a_docstring_and_nothing_else(path):
    # Ansible ships what an __init__.py imports with every file of its package.
    body = ast.parse(path.read_text(encoding="utf-8")).body
    assert ast.get_docstring(ast.Module(body, []))
    if room(name_of(path))[0] == "module_utils":
        assert len(body) == 1


def test_every_package_stands_in_an_order():
    for floor, order in (("module_utils", HOSTS), ("plugin_utils", CONTROLLER)):
        there = {room(name)[1] for name in files() if name.startswith(f"{floor}.")}
        assert there == set(order), floor


@pytest.mark.parametrize(("floor", "order"), [("module_utils", HOSTS), ("plugin_utils", CONTROLLER)])
def test_the_architecture_page_lists_the_packages_in_their_order(floor, order):
    page = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
    _, section = page.split(f"`plugins/{floor}/`\n", 1)
    listed = re.findall(r"^\| `(\w+)/` \|", section.split("\n#", 1)[0], re.MULTILINE)
    assert listed == [package for package in order if (PLUGINS / floor / package).is_dir()]


def test_modules_ship_no_more_than_they_need(capsys):
    found = {name.partition(".")[2]: shipped(name) for name in files() if name.startswith("modules.")}
    assert {name for name, parts in found.items() if not parts} == {
        "adopt",
        "adopt_share",
        "adopt_takeover",
        "apt_restore",
        "benchmark",
        "benchmark_report",
        "benchmark_target",
        "benchmark_wishes",
        "builder_environment",
        "diagnosis",
        "diagnosis_keep",
        "diagnosis_probe",
        "driver_foreseen",
        "driver_plan",
        "fleet_answers",
        "fleet_hosts",
        "fleet_turn",
        "gateway_capacity",
        "gateway_plan",
        "host_check",
        "host_plan",
        "jemalloc_trial",
        "load_program",
        "model_waves",
        "profile",
        "profile_report",
        "monitoring_plan",
        "optimize_model",
        "optimize_speed",
        "report",
        "rollout_back",
        "rollout_watch",
        "rollout_course",
        "tune",
        "wishes",
    }
    assert set(found) == set(SHIPPED)
    sizes = {name: sum(files()[part].stat().st_size for part in parts) for name, parts in found.items()}
    with capsys.disabled():
        print("\n\nfiles and bytes of module_utils that each module ships")
        for name, parts in sorted(found.items()):
            print(f"  {name:24}{len(parts):4}{sizes[name]:9,}")
    more = {name: len(parts) for name, parts in found.items() if len(parts) > SHIPPED[name]}
    assert not more, f"more than before: {more}"


@pytest.mark.parametrize("name", [name for name in files() if re.match(r"(modules|filter|action|lookup)\.", name)])
def test_modules_filters_and_actions_are_thin(name):
    functions = [node for node in ast.walk(ast.parse(files()[name].read_text())) if isinstance(node, ast.FunctionDef)]
    statements = [statement for function in functions for statement in function.body if not is_docstring(statement)]
    lines = {line for each in statements for line in range(each.lineno, (each.end_lineno or each.lineno) + 1)}
    assert len(lines) <= THICKEST


def is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def test_what_ansible_has_templated_is_not_copied():
    """A copy of its tagged, lazily templated containers took half of a run's time on the controller once."""
    copying = {name for name, path in files().items() if re.search(r"\bdeepcopy\(", path.read_text(encoding="utf-8"))}
    assert copying == {
        "plugin_utils.wishes.inventory",  # the roles' specs, which are files of ours
        "module_utils.serving.versions_text",  # on hosts, which know no templates
    }
    roles = [path for path in REPOSITORY.glob("roles/**/*") if path.suffix in {".yml", ".j2"}]
    assert not [path for path in roles if "lookup('ansible.builtin.template'" in path.read_text(encoding="utf-8")]


def test_filters_are_found_at_both_places():
    real = {path.name for path in (PLUGINS / "filter").glob("*.py")}
    linked = {path.name: path for path in (REPOSITORY / "filter_plugins").glob("*.py")}
    assert set(linked) == real
    for name, link in linked.items():
        assert link.is_symlink(), f"{link} is a copy"
        assert link.readlink() == Path("../plugins/filter") / name
