# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The measured host under a conductor: which settings restart its server, and that it finds its way back from each."""

from __future__ import annotations

from functools import partial

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.host import process as process_facts
from ansible_collections.tfserving.fleet.plugins.module_utils.serving import watch as serving_watch
from ansible_collections.tfserving.fleet.plugins.module_utils.trial.conduct import TrialError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tuning import measured_host, on_host, space
from killed import run_until_killed
from polling_model import Polling
from serving_double import Clock, FakeServer, publish
from trial_host import TrialHost, call, is_back, trial
from tuning_cases import context

OWNER, OWN = "tune-1", 1_800_000_000
MOST_STEPS = 400


class Crew:
    """A crew whose other member answers at once."""

    def __init__(self, *answers):
        self.ordered, self._answers = [], list(answers)

    def order(self, orders):
        self.ordered.append(orders)

    def answers(self, names, within_s):
        assert within_s > 3600
        return [self._answers.pop(0) for _ in names]


def measured(crew, served=None, now=lambda: float(OWN)):
    return measured_host.Host(crew, "gpu-a", "ranker", OWNER, 900, served or {}, now)


def test_the_measured_host_is_ordered_by_name():
    renewed = {"memory": {"rss_mb": 1.0}, "sample": {"at": 2.0}}
    crew = Crew({"changed": True}, renewed, {"failed": True, "msg": "x"})
    host = measured(crew)
    plan = context().planned()
    why = "ranker does not serve exactly one version"
    assert host.put(plan) == {"changed": True, "tried_by": "restart", "why": why}
    assert host.renew() == renewed
    assert host.restore() is False
    assert crew.ordered == [
        {"gpu-a": {"module": on_host.MODULE, "arguments": on_host.present(plan, OWNER, 900)}},
        {"gpu-a": {"module": on_host.MODULE, "arguments": on_host.renewed("ranker", OWNER, 900)}},
        {"gpu-a": {"module": on_host.MODULE, "arguments": on_host.absent("ranker", OWNER)}},
    ]


def test_a_trial_that_has_ended_by_itself_ends_the_tuning():
    host = measured(Crew({"failed": True, "msg": "no trial is under way"}))
    with pytest.raises(WishError) as refused:
        host.renew()
    assert str(refused.value) == "gpu-a: no trial is under way"


class Direct:
    """A crew whose other member calls the module on the simulated host."""

    def __init__(self, host):
        self.host, self.called = host, []

    def order(self, orders):
        self.called.append(orders["gpu-a"]["arguments"])

    def answers(self, _names, _within_s):
        try:
            return [call(self.host, **self.called[-1])]
        except TrialError as error:
            return [{**error.result, "failed": True}]


@pytest.fixture
def serving(tmp_path, monkeypatch):
    """Return a simulated host that serves the plan of ``context()``, its server's model and what plans it."""
    with FakeServer() as server:
        publish(tmp_path / "models", 1, model="ranker")
        (tmp_path / "models/ranker/1/saved_model.pb").write_text("graph")
        monkeypatch.setattr(process_facts, "stranger_on_port", lambda *_arguments: "")
        clock = Clock()
        monkeypatch.setattr(serving_watch, "wait", partial(serving_watch.wait, now=clock.now, sleep=clock.sleep))
        monkeypatch.setattr(on_host, "FOLDER", str(tmp_path / "run/tfserving-trial/{instance}"))
        place = context(ports={"grpc": 8500, "rest": server.port})
        host = TrialHost(tmp_path)
        host.boot(server.port)
        plan = place.planned()
        config = {"name": "ranker", "base_path": str(tmp_path / "models/ranker"), "model_platform": "tensorflow"}
        host.planned(models=["ranker"], ports=plan["ports"], model_config={"model_config_list": {"config": [config]}})
        server.models["ranker"] = Polling(host, "ranker")
        yield host, server.models["ranker"], place


def setting(size=16, timeout=2000, threads=4, intra=1):
    return space.Setting(space.Batches(size, timeout, threads, 100), intra, 3, 64, 64)


def put(host, place, *settings):
    return [host.put(place.plan_of(each)) for each in settings]


def test_settings_that_a_version_carries_restart_nothing(serving):
    machine, model, place = serving
    host = measured(Direct(machine), {"ranker": [1]})
    found = put(
        host, place, setting(), setting(32), setting(32, 0), setting(32, 0), setting(32, 0, 2), setting(16, 0, 2)
    )
    assert [each["tried_by"] for each in found] == ["restart", "version", "version", "kept", "restart", "version"]
    assert [each["why"] for each in found] == [
        "no trial is in force",
        "max_batch_size alone differs",
        "batch_timeout_micros alone differs",
        "the same settings run",
        "num_batch_threads cannot differ between versions",
        "max_batch_size alone differs",
    ]
    pids = [each["pid"] for each in found]
    assert pids[0] == pids[1] == pids[2] == pids[3] != pids[4] == pids[5]
    # The only version that is there is the last one, with the settings that were asked for last.
    assert [path.name for path in model.folder.iterdir()] == [str(OWN + 4)]
    file = (model.folder / str(OWN + 4) / "batching_params.pbtxt").read_text()
    assert [" ".join(line.split()) for line in file.splitlines() if "num_batch_threads" in line] == []
    assert model.largest == 16
    assert host.restore() is True
    assert is_back(machine)


def test_a_setting_without_batches_has_the_plans_own_versions(serving):
    machine, model, place = serving
    host = measured(Direct(machine), {"ranker": [1]})
    found = put(host, place, setting(), space.Setting(None, 1, 3, 64, 64), setting())
    assert [each["tried_by"] for each in found] == ["restart"] * 3
    assert [each["why"] for each in found][1:] == ["batching is switched on or off"] * 2
    assert model.is_trial
    assert host.restore() is True


@pytest.mark.parametrize("refused", [[OWN + 1], [OWN + 2]])
def test_a_version_that_does_not_serve_is_tried_by_a_restart_and_so_are_all_after_it(serving, refused):
    machine, model, place = serving
    model.refused = refused
    host = measured(Direct(machine), {"ranker": [1]}, lambda: float(OWN + 1))
    found = put(host, place, setting(), setting(32), setting(64))
    assert [each["tried_by"] for each in found][-2:] == ["restart", "restart"]
    assert not any(each.get("failed") for each in found)
    assert found[-1]["why"].startswith("a version did not come to serve: ")
    assert found[-1]["why"].endswith("the trial is ended, and the settings of the plan are back and serve")
    assert not model.is_trial
    assert host.restore() is True
    assert is_back(machine)


def test_settings_with_which_nothing_serves_fail_and_versions_go_on(serving):
    machine, _model, place = serving
    crew = Direct(machine)
    host = measured(crew, {"ranker": [1]})
    ordered, order = [], crew.order
    crew.order = lambda orders: ordered.append(1) or order(broken(orders) if len(ordered) in (2, 3) else orders)
    found = put(host, place, setting(), setting(32), setting(64), setting(16))
    assert [bool(each.get("failed")) for each in found] == [False, True, False, False]
    assert [each["tried_by"] for each in found] == ["restart", "restart", "restart", "version"]


def broken(orders):
    arguments = orders["gpu-a"]["arguments"]
    return {"gpu-a": {"arguments": {**arguments, "arguments": [*arguments["arguments"], "--broken"]}}}


def test_a_server_that_was_restarted_meanwhile_is_told(serving):
    machine, _model, place = serving
    host = measured(Direct(machine), {"ranker": [1]})
    put(host, place, setting())
    machine.run(["systemctl", "restart", "tfserving@ranker.service"])
    (found,) = put(host, place, setting(32))
    assert (found["tried_by"], found["why"]) == ("restart", "its server was another one")


def test_a_tuning_killed_while_it_swaps_settings_goes_on_and_leads_back(serving):
    machine, model, place = serving
    start, record, met = machine.state, machine.record.read_bytes(), []
    for at in range(1, MOST_STEPS):
        machine.change(**start)
        put(measured(Direct(machine), {"ranker": [1]}), place, setting())
        own = on_host.Own(OWN + 1, {"ranker": 1})
        trying = trial(machine, **on_host.present(place.plan_of(setting(32)), OWNER, 900, own))
        died = run_until_killed(trying.conduct, at, [(trying.units, "run"), (trying.back, "run")])
        assert machine.state["timers"]
        if died and machine.snapshot in met:
            continue
        met.append(machine.snapshot)
        # The run that goes on, with other numbers since time has passed.
        again = measured(Direct(machine), {"ranker": [1]}, lambda: OWN + 60.0)
        (found,) = put(again, place, setting(64))
        assert (bool(found.get("failed")), model.largest) == (False, 64), at
        assert [path.name for path in model.folder.iterdir()] == [str(OWN + 60)]
        assert again.restore() is True
        assert is_back(machine), at
        assert machine.record.read_bytes() == record
        assert not (machine.root / "run/tfserving-trial/ranker").exists()
        if not died:
            return
    pytest.fail("it never came to its end")
