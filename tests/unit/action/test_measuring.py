# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The actions of benchmark.yml, tune.yml and profile.yml hand on what Ansible knows, and refuse in one sentence."""

from __future__ import annotations

import zipfile
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.tfserving.fleet.plugins.action import (
    benchmark,
    benchmark_report,
    benchmark_target,
    benchmark_wishes,
    load_program,
    profile,
    tune,
)
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.refusals import WishErrors
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark import here, options
from planner_cases import CPU_HOST, instance
from planner_cases import plan as planned

GENERATOR = {"python": "python3", "program": "/opt/load.zip", "folder": "/opt"}


def action(module: Any, **arguments: Any) -> Any:
    """Return an action whose options are those of its task, as they are."""
    found = object.__new__(module.ActionModule)
    found._task = SimpleNamespace(args=arguments, _uuid="1234")
    found.options = lambda: {name: arguments.get(name) for name in found.ARGUMENTS}
    return found


def asked(**given: Any) -> dict[str, Any]:
    return vars(options.read({"instance": "ranker", **given}))


# --- benchmark_wishes ----------------------------------------------------------------------------------------

VARIABLES = {
    "hostvars": {"gpu-a": {"tfserving_instances": [{"name": "ranker"}, "not an instance"]}, "gpu-b": {}, "load-1": {}},
    "groups": {"tfserving": ["gpu-a", "gpu-b"], "tfserving_load": ["load-1"]},
    "ansible_play_hosts_all": ["gpu-a"],
}


def wishes(monkeypatch, extra, purpose="benchmark", **variables):
    monkeypatch.setattr(benchmark_wishes, "load_extra_vars", lambda loader: extra)
    found = action(benchmark_wishes, pattern="tfserving", purpose=purpose)
    found._loader = None
    found.hosts_of = lambda pattern, task_vars: task_vars["groups"][pattern]
    return found.perform({**VARIABLES, **variables})


def test_the_hosts_that_take_part_are_found(monkeypatch):
    found = wishes(monkeypatch, {"instance": "ranker", "budget": "5m", "tfserving_user": "x", "mine": 1})
    assert (found["host"], found["load_hosts"], found["controller"]) == ("gpu-a", ["load-1"], False)
    assert found["options"] == asked(budget="5m")
    assert found["longest_s"] == 600 + 2 * 300
    assert len(found["id"]) == 12


TWO_HOSTS = {"hostvars": {**VARIABLES["hostvars"], "gpu-b": {"tfserving_instances": [{"name": "next"}]}}}


def test_another_instance_and_its_host_take_part(monkeypatch):
    found = wishes(monkeypatch, {"instance": "ranker", "against": "next", "rate": 5}, **TWO_HOSTS)
    assert (found["host"], found["hosts"], found["earlier"]) == ("gpu-a", ["gpu-a", "gpu-b"], None)
    assert [(side["side"], side["host"]) for side in found["sides"]] == [("A", "gpu-a"), ("B", "gpu-b")]
    found = wishes(monkeypatch, {"instance": "ranker", "against": "next.json"}, **TWO_HOSTS)
    assert (found["hosts"], found["earlier"]) == (["gpu-a"], "next.json")


def test_the_host_of_another_instance_is_none_of_the_load_hosts_and_within_the_limit(monkeypatch):
    given = {"instance": "ranker", "against": "next", "rate": 5}
    groups = {**VARIABLES["groups"], "tfserving_load": ["gpu-b"]}
    with pytest.raises(WishError, match=r"^tfserving_load: gpu-b is the host to be measured"):
        wishes(monkeypatch, given, **TWO_HOSTS, groups=groups)
    with pytest.raises(WishError, match=r"^--limit: gpu-a leaves out gpu-b, load-1, which"):
        wishes(monkeypatch, given, **TWO_HOSTS, ansible_limit="gpu-a")


def test_without_load_hosts_the_load_comes_from_the_controller(monkeypatch):
    found = wishes(monkeypatch, {"instance": "ranker"}, groups={"tfserving": ["gpu-a"]})
    assert (found["load_hosts"], found["controller"]) == (["this-controller"], True)


def test_a_tuning_has_defaults_of_its_own(monkeypatch):
    assert wishes(monkeypatch, {"instance": "ranker"}, "tune")["options"]["output"] == "tuned/ranker"


def test_a_misspelt_variable_and_a_bad_value_are_refused_together(monkeypatch):
    with pytest.raises(WishErrors) as refused:
        wishes(monkeypatch, {"instance": "ranker", "durration": "60s", "rate": "fast"})
    said = str(refused.value)
    assert "durration: is no variable of a benchmark; " in said
    assert "duration" in said
    assert "rate: is the string 'fast'; give a number from 0.1 to 1e+06" in said


def test_a_limit_without_a_load_host_is_refused(monkeypatch):
    with pytest.raises(WishError) as refused:
        wishes(monkeypatch, {"instance": "ranker"}, ansible_limit="gpu-a")
    assert str(refused.value).startswith("--limit: gpu-a leaves out load-1, which takes part in the benchmark; ")


# --- benchmark_target ----------------------------------------------------------------------------------------


def test_the_target_is_named_as_in_the_inventory():
    arguments = {
        "options": asked(),
        "plan": planned(CPU_HOST, [instance()]),
        "status": [{"name": "ranker", "problem": ""}],
        "sides": [{"side": "A", "instance": "ranker", "host": "gpu-a"}],
        "conditions": [{"cpu": "x"}],
        "address": "10.0.0.5",
    }
    found = action(benchmark_target, **arguments).perform({"inventory_hostname": "gpu-a"})["targets"]["A"]
    assert (found["name"], found["host"], found["conditions"]) == ("gpu-a", "10.0.0.5", {"cpu": "x"})


# --- benchmark_report ----------------------------------------------------------------------------------------


def test_a_report_without_a_document_is_one_sentence(tmp_path):
    arguments = {"output": str(tmp_path / "none"), "evidence": [], "despite_differences": False}
    with pytest.raises(WishError) as refused:
        action(benchmark_report, **arguments).perform({})
    assert str(refused.value) == (
        f"output: {tmp_path}/none.json cannot be read (No such file or directory); run the benchmark again"
    )


# --- benchmark and tune --------------------------------------------------------------------------------------


@pytest.fixture
def controller(monkeypatch, tmp_path):
    """Let crews meet in a folder of the test, and commands on load hosts be kept."""
    commands: list[str] = []

    def run(_self: Any, command: str) -> dict[str, Any]:
        commands.append(command)
        return {"rc": 0, "stdout": "", "stderr": ""}

    monkeypatch.setattr(here, "C", SimpleNamespace(DEFAULT_LOCAL_TMP=str(tmp_path)))
    monkeypatch.setattr(here.context, "CLIARGS", {"forks": 5})
    for module in (benchmark, profile, tune):
        monkeypatch.setattr(module.ActionModule, "_low_level_execute_command", run)
    return SimpleNamespace(commands=commands, folder=tmp_path / "crew-1234")


def measuring(module: Any, **more: Any) -> Any:
    arguments = {"options": {}, "target": {"name": "gpu-a"}, "load_hosts": ["load-1", "load-2"], "generator": GENERATOR}
    return action(module, **{**arguments, **more})


def dismissed(folder: Any) -> int:
    return len([path for path in folder.glob("*.order") if path.read_text() == '"end"'])


@pytest.mark.parametrize(("module", "others"), [(benchmark, 1), (tune, 2)])
def test_the_first_load_host_conducts_and_dismisses_the_others_however_it_ends(controller, monkeypatch, module, others):
    def fail(*_arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module.conduct, "conduct", fail)
    monkeypatch.setattr(
        module.ActionModule,
        "_called",
        lambda self, given: SimpleNamespace(asked=SimpleNamespace(output="x")),
        raising=False,
    )
    with pytest.raises(KeyboardInterrupt):
        measuring(module).perform({"inventory_hostname": "load-1"})
    assert dismissed(controller.folder) == others
    assert "; mkdir -m 0700 /opt/run-" in controller.commands[0]
    assert controller.commands[-1].startswith("rm -rf /opt/run-")


@pytest.mark.parametrize(("module", "others"), [(benchmark, 1), (tune, 2)])
def test_the_others_are_dismissed_where_the_first_load_host_cannot_be_reached(controller, monkeypatch, module, others):
    def fail(*_arguments: Any) -> None:
        raise ConnectionError

    monkeypatch.setattr(module.ActionModule, "_low_level_execute_command", fail)
    with pytest.raises(ConnectionError):
        measuring(module).perform({"inventory_hostname": "load-1"})
    assert dismissed(controller.folder) == others


@pytest.mark.parametrize("module", [benchmark, profile, tune])
def test_another_load_host_follows_until_it_is_dismissed(controller, module):
    controller.folder.mkdir()
    (controller.folder / "1.1.order").write_text('"end"')
    assert measuring(module).perform({"inventory_hostname": "load-2"}) == {}
    assert dismissed(controller.folder) == 1


@pytest.mark.parametrize(("state", "deed"), [("captured", "capture"), ("closed", "prove_closed")])
def test_a_trace_is_recorded_or_its_end_is_proved(controller, monkeypatch, state, deed):
    monkeypatch.setattr(profile.capture, deed, lambda asked, *_more: {"did": deed, "seconds": asked.trace_s})
    options_of_it = vars(options.read({"instance": "ranker", "seconds": 3}, "profile"))
    found = measuring(profile, options=options_of_it, session="5f5f", state=state)
    assert found.perform({"inventory_hostname": "load-1"}) == {"did": deed, "seconds": 3}
    assert dismissed(controller.folder) == 1


def test_the_measured_host_calls_the_module_that_it_is_ordered_to(controller):
    controller.folder.mkdir()
    (controller.folder / "2.1.order").write_text('{"module": "m", "arguments": {"a": 1}}')
    (controller.folder / "2.2.order").write_text('"end"')
    found = measuring(tune)
    found.call = lambda module, arguments, task_vars: {"changed": True, "msg": f"{module} {arguments}"}
    assert found.perform({"inventory_hostname": "gpu-a"}) == {}
    assert (controller.folder / "2.1.answer").read_text() == '{"msg": "m {\'a\': 1}", "changed": true}'
    assert controller.commands == []


def test_more_load_hosts_than_forks_are_refused(controller, monkeypatch):
    monkeypatch.setattr(here.context, "CLIARGS", {"forks": 1})
    with pytest.raises(WishError) as refused:
        measuring(benchmark).perform({"inventory_hostname": "load-1"})
    assert str(refused.value).startswith(
        "forks: is 1, and the 2 hosts of tfserving_load have to run at the same time; "
    )


# --- load_program --------------------------------------------------------------------------------------------


def test_the_program_is_copied_by_ansibles_own_action(monkeypatch, tmp_path):
    seen = {}

    class Copy:
        def __init__(self, name: str, task: Any, **_context: Any) -> None:
            self.arguments = (name, task.args)

        def run(self, task_vars: Any) -> dict[str, Any]:
            seen["name"], arguments = self.arguments
            seen.update(arguments)
            with zipfile.ZipFile(arguments["src"]) as archive:
                seen["files"] = archive.namelist()
            return {"changed": True}

    monkeypatch.setattr(load_program, "C", SimpleNamespace(DEFAULT_LOCAL_TMP=str(tmp_path)))
    found = action(load_program, dest="/opt/load.zip", program="load")
    found._task.copy = lambda: SimpleNamespace()
    found._shared_loader_obj = SimpleNamespace(action_loader=SimpleNamespace(get=Copy))
    for name in ("_connection", "_play_context", "_loader", "_templar"):
        setattr(found, name, None)
    assert found.perform({}) == {"changed": True}
    assert (seen["name"], seen["dest"], seen["mode"]) == ("ansible.legacy.copy", "/opt/load.zip", "0600")
    assert "tfserving_load/__main__.py" in seen["files"]
    assert list(tmp_path.iterdir()) == []
