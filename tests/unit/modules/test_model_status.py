# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Waiting for instances to serve: when it succeeds, when it gives up early, and in which words."""

from __future__ import annotations

import os

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.host import process as process_facts
from ansible_collections.tfserving.fleet.plugins.module_utils.serving import check as serving_check
from ansible_collections.tfserving.fleet.plugins.module_utils.serving import watch as serving_watch
from ansible_collections.tfserving.fleet.plugins.modules import model_status
from ports import free_port
from running import run_module
from serving_double import Clock, FakeHost, FakeServer, Model, instance, publish

UNIT = "tfserving@ranker.service"


@pytest.fixture
def host():
    return FakeHost()


@pytest.fixture
def watch(tmp_path, host):
    """Make a watch of an instance whose wanted versions are on disk."""

    def make(entry, probe=True, models=(), on_disk=(6, 7)):
        root = publish(tmp_path / "models", *on_disk)
        expected = serving_check.expectations(entry, models, root)
        return serving_watch.Watch(entry, expected, UNIT, probe, host.run, tmp_path / "proc")

    (tmp_path / "proc" / "net").mkdir(parents=True)
    return make


def wait(watch, clock=None, timeout=30):
    """Wait and return the reason for giving up, or None."""
    clock = clock or Clock()
    given_up = serving_watch.wait([watch], {watch.name: timeout}, clock.now, clock.sleep)
    return None if given_up is None else str(given_up[1])


def set_state(model, **changes):
    def change():
        model.versions.update({int(key.lstrip("v")): state for key, state in changes.items()})

    return change


def test_an_instance_is_ready_once_its_version_is_available_and_has_answered(watch):
    model = Model({7: "LOADING"})
    with FakeServer(m=model) as server:
        seen = watch(instance(server.port))
        assert wait(seen, Clock(at_2=set_state(model, v7="AVAILABLE"))) is None
        (found,) = seen.report()["models"]
    assert found["versions"] == [{"version": 7, "state": "AVAILABLE", "error": ""}]
    assert found["probe"]["ok"] is True
    assert found["probe"]["answer"] == "[[2.0]]"
    assert seen.report()["waited_s"] >= 2


def test_the_pauses_grow_up_to_a_second(watch):
    clock = Clock()
    with FakeServer(m=Model({7: "LOADING"})) as server:
        wait(watch(instance(server.port)), clock)
    assert clock.pauses[0] == 0.1
    assert clock.pauses == sorted(clock.pauses)
    assert max(clock.pauses) == 1.0


def test_status_200_while_loading_is_no_success_and_the_state_is_named(watch):
    with FakeServer(m=Model({7: "LOADING"})) as server:
        assert wait(watch(instance(server.port))) == "model m version 7 is LOADING after 30 s"


def test_a_version_that_the_server_does_not_know_yet_is_waited_for(watch):
    with FakeServer(m=Model({6: "END"})) as server:
        assert wait(watch(instance(server.port))) == "model m version 7 is not known to the server after 30 s"


def test_an_old_version_must_have_left(watch):
    model = Model({6: "AVAILABLE", 7: "AVAILABLE"})
    with FakeServer(m=model) as server:
        assert wait(watch(instance(server.port))) == "model m version 6 is still AVAILABLE after 30 s"
        model.versions[6] = "END"
        assert wait(watch(instance(server.port))) is None


def test_a_closed_port_is_named_at_the_deadline(watch):
    port = free_port()
    assert wait(watch(instance(port))).startswith(f"port {port} does not answer (")


def test_a_load_that_fails_is_reported_at_once_in_the_servers_words(watch):
    model, clock = Model({7: "LOADING"}), None
    with FakeServer(m=model) as server:
        clock = Clock(at_3=set_state(model, v7=("NOT_FOUND", "Op type not registered 'Frob'")))
        problem = wait(watch(instance(server.port)), clock)
    assert problem == (
        "model m version 7 failed to load: NOT_FOUND: Op type not registered 'Frob';"
        " repair it at its source, or name a version that loads"
    )
    assert clock.time < 5


def test_the_failure_of_a_version_that_nobody_wants_is_no_failure(watch):
    with FakeServer(m=Model({6: ("INTERNAL", "broken"), 7: "AVAILABLE"})) as server:
        assert wait(watch(instance(server.port))) is None


def test_a_failure_of_yesterday_counts_only_after_the_reload_had_its_time(watch):
    model = Model({7: ("INTERNAL", "old story")})
    entry = {"flags": {"model_config_file_poll_wait_seconds": 10}}
    with FakeServer(m=model) as server:
        assert wait(watch(instance(server.port, **entry)), Clock(at_8=set_state(model, v7="AVAILABLE"))) is None
        model.versions[7] = ("INTERNAL", "old story")
        clock = Clock()
        assert "old story" in wait(watch(instance(server.port, **entry)), clock)
    assert 12 <= clock.time < 14


def test_labels_must_answer_from_their_versions(watch):
    model = Model({6: "AVAILABLE", 7: "AVAILABLE"}, labels={"stable": 6, "canary": 6})
    entry = {"versions": (6, 7), "labels": {"stable": 6, "canary": 7}}
    with FakeServer(m=model) as server:
        assert (
            wait(watch(instance(server.port, **entry)))
            == "model m label canary answers from version 6, not 7 after 30 s"
        )
        del model.labels["canary"]
        assert "label canary does not answer (Unrecognized" in wait(watch(instance(server.port, **entry)))
        model.labels["canary"] = 7
        assert wait(watch(instance(server.port, **entry))) is None
        assert [path for verb, path, _ in server.calls if verb == "POST"] == [
            "/v1/models/m:predict",
            "/v1/models/m/labels/canary:predict",
            "/v1/models/m/labels/stable:predict",
        ]


def test_the_latest_version_on_disk_is_the_wanted_one(watch):
    entry = instance(0)
    entry["model_config"]["model_config_list"]["config"][0]["model_version_policy"] = {"latest": {"num_versions": 1}}
    assert watch(entry, on_disk=(6, 7, 10)).expected[0].versions == (10,)


def test_files_and_staged_directories_are_no_versions(tmp_path):
    root = publish(tmp_path, 7, ".8.tmp", "nine")
    (tmp_path / "m" / "11").write_text("")
    assert serving_check.versions_on_disk(root + "/m") == [7]


def test_a_model_without_versions_on_disk_is_not_waited_for(watch):
    entry = instance(1)
    entry["model_config"]["model_config_list"]["config"][0]["model_version_policy"] = {"all": {}}
    problem = wait(watch(entry, on_disk=()))
    assert problem.startswith("model m has no version in ")
    assert problem.endswith("models/m, and the server waits for one indefinitely")


def test_a_listed_version_that_is_not_on_disk_is_not_waited_for(watch):
    assert "model m version 9 is wanted but is not in " in wait(watch(instance(1, versions=(9,))))


def test_a_failed_unit_ends_the_wait(watch, host):
    host.unit.update(ActiveState="failed", Result="exit-code", ExecMainStatus="255")
    assert wait(watch(instance(1))) == "the unit is failed, exit status 255"


def test_a_unit_that_keeps_dying_ends_the_wait(watch, host):
    clock = Clock(
        at_1=lambda: host.unit.update(
            SubState="auto-restart", NRestarts="0", Result="exit-code", ExecMainStatus="255", ActiveState="activating"
        ),
        at_3=lambda: host.unit.update(SubState="running", NRestarts="2", Result="success", ActiveState="active"),
    )
    with FakeServer(m=Model({7: "LOADING"})) as server:
        assert wait(watch(instance(server.port)), clock) == "the unit died 2 times while waiting (exit status 255)"


def test_restarts_of_long_ago_do_not_count(watch, host):
    host.unit["NRestarts"] = "9"
    with FakeServer(m=Model({7: "AVAILABLE"})) as server:
        assert wait(watch(instance(server.port))) is None


def test_a_single_death_is_told_at_the_deadline(watch, host):
    clock = Clock(at_1=lambda: host.unit.update(NRestarts="1"))
    with FakeServer(m=Model({7: "LOADING"})) as server:
        assert wait(watch(instance(server.port)), clock).endswith("; the unit died once while waiting after 30 s")


def test_another_process_on_the_port_ends_the_wait(watch, monkeypatch):
    monkeypatch.setattr(process_facts, "stranger_on_port", lambda *_: "process 7 (haproxy)")
    problem = wait(watch(instance(8501)))
    assert problem == f"port 8501 is answered by process 7 (haproxy), not by the unit {UNIT}"


def test_the_models_own_probe_is_sent_and_its_answer_compared(watch):
    probe = {"instances": [[1.0]], "expect": [[2.5]]}
    with FakeServer(m=Model({7: "AVAILABLE"}, answer=[[2.5004]])) as server:
        assert wait(watch(instance(server.port), models=[{"name": "m", "probe": probe}])) is None
        assert server.calls[-1][2] == {"instances": [[1.0]]}
        server.models["m"].answer = [[3.0]]
        problem = wait(watch(instance(server.port), models=[{"name": "m", "probe": probe}]))
    assert problem == "model m fails its prediction: answer[0][0] is 3.0, expected 2.5"


def test_a_prediction_that_fails_ends_the_wait(watch):
    with FakeServer(m=Model({7: "AVAILABLE"}, refusal=(500, "CUDA error"))) as server:
        assert wait(watch(instance(server.port))) == "model m fails its prediction: CUDA error"


def test_a_full_queue_is_asked_again(watch):
    model = Model({7: "AVAILABLE"}, refusal=(503, "The batch scheduling queue is full"))
    with FakeServer(m=model) as server:
        assert wait(watch(instance(server.port)), Clock(at_1=lambda: setattr(model, "refusal", None))) is None


UNPROVEN = (
    "the model does not accept zeros (Invalid JPEG data); give it a probe, or probe: false to serve it without proof"
)


def test_a_model_that_takes_no_zeros_is_not_proven_unless_the_wish_does_without(watch):
    model = Model({7: "AVAILABLE"}, refusal=(400, "Invalid JPEG data"))
    with FakeServer(m=model) as server:
        seen = watch(instance(server.port))
        assert wait(seen) == f"model m is not proven: {UNPROVEN}"
        assert seen.report()["models"][0]["probe"] == {"ok": None, "note": UNPROVEN}
        seen = watch(instance(server.port), models=[{"name": "m", "probe": False}])
        assert wait(seen) is None
        assert "probe" not in seen.report()["models"][0]
        seen = watch(instance(server.port), models=[{"name": "m", "probe": {"instances": [1]}}])
        assert wait(seen) == "model m fails its prediction: Invalid JPEG data"


def test_without_a_probe_no_prediction_is_asked_for(watch):
    with FakeServer(m=Model({7: "AVAILABLE"}, refusal=(500, "broken"))) as server:
        assert wait(watch(instance(server.port), probe=False)) is None


def test_all_instances_are_watched_at_once_and_the_first_failure_ends_it(watch, host):
    slow, broken = instance(1), instance(2, versions=(9,))
    slow["name"], broken["name"] = "slow", "broken"
    watches = [watch(slow), watch(broken)]
    clock = Clock()
    failed, _error = serving_watch.wait(watches, {"slow": 100, "broken": 100}, clock.now, clock.sleep)
    assert failed.name == "broken"
    assert clock.time == 0
    assert [bool(one.report()["problem"]) for one in watches] == [True, True]


def test_only_the_named_instances_are_chosen_in_the_plans_order():
    plan = [{"name": name, "ports": {"rest": 8501}} for name in "abc"]
    assert [entry["name"] for entry in model_status.chosen(plan, ["c", "a"])] == ["a", "c"]
    assert model_status.chosen(plan, None) == plan
    assert model_status.chosen(plan, []) == []


def test_an_unknown_instance_is_refused_with_the_nearest_name():
    with pytest.raises(WishError, match=r"only: 'rankr' is not an instance of this host; did you mean 'ranker'\?"):
        model_status.chosen([{"name": "ranker"}], ["rankr"])


def test_an_instance_without_rest_cannot_be_proven():
    with pytest.raises(WishError, match=r"instances\.a\.ports\.rest: is off, and only REST tells .*; give it a port"):
        model_status.chosen([{"name": "a", "ports": {"grpc": 8500, "rest": 0}}], None)


@pytest.fixture
def run(tmp_path, host, monkeypatch):
    """Run the module on the made-up host and return its result."""
    monkeypatch.setattr(process_facts, "runner", lambda _module: host.run)
    host.unit["MainPID"] = str(os.getpid())
    warnings = []
    # Ansible collects the warnings of a process, and here many modules run in one.
    monkeypatch.setattr(model_status.AnsibleModule, "warn", lambda _module, text: warnings.append(text))

    def call(check=False, **arguments):
        arguments = {"model_root": publish(tmp_path, 6, 7), **arguments}
        return {**run_module(model_status, **arguments, _ansible_check_mode=check), "warnings": warnings}

    return call


def test_the_module_reports_and_changes_nothing(run):
    with FakeServer(m=Model({7: "AVAILABLE"})) as server:
        result = run(instances=[instance(server.port)])
    assert result["changed"] is False
    assert result["instances"][0]["problem"] == ""


def test_the_modules_failure_carries_the_servers_last_lines(run, host):
    host.unit.update(ActiveState="failed", Result="exit-code", ExecMainStatus="255")
    host.log["abc123"] = ["E tensorflow: no such op", "F tensorflow: aborting"]
    result = run(instances=[instance(1)])
    assert result["failed"]
    assert result["msg"] == (
        "The last lines of instance ranker:\nE tensorflow: no such op\nF tensorflow: aborting\n"
        "instance ranker: the unit is failed, exit status 255"
    )
    assert result["log"] == host.log["abc123"]


def test_what_the_server_says_again_and_again_is_repeated_once(run, host):
    host.unit.update(ActiveState="failed", Result="exit-code", ExecMainStatus="255")
    host.log["abc123"] = [
        "2026-11-25 21:15:01.336301: E manager.cc:172] Loading failed",
        "2026-11-25 21:15:06.000001: E manager.cc:172] Loading failed",
        "I0000 00:00:1795641240.390147    1230 service.cc:145] XLA",
        "I0000 00:00:1795641241.390147    1231 service.cc:145] XLA",
    ]
    result = run(instances=[instance(1)])
    assert result["log"] == [host.log["abc123"][0], host.log["abc123"][2]]


def test_the_module_waits_no_longer_than_told(run):
    with FakeServer(m=Model({7: "LOADING"})) as server:
        result = run(instances=[instance(server.port)], timeout=0)
    assert result["msg"] == "instance ranker: model m version 7 is LOADING after 0 s"


def test_check_mode_takes_one_look_and_does_not_fail(run):
    with FakeServer(m=Model({7: "LOADING"})) as server:
        result = run(check=True, instances=[instance(server.port)])
        assert not [call for call in server.calls if call[0] == "POST"]
    assert not result.get("failed")
    assert result["instances"][0]["problem"] == "model m version 7 is LOADING"


def test_check_mode_on_a_host_without_the_unit_says_so(run, host):
    host.unit.update(ActiveState="inactive", LoadState="not-found")
    result = run(check=True, instances=[instance(1)])
    assert result["instances"][0]["problem"] == f"the unit {UNIT} does not exist"


def test_a_model_that_is_not_proven_is_a_failure(run):
    with FakeServer(m=Model({7: "AVAILABLE"}, refusal=(400, "Invalid JPEG data"))) as server:
        result = run(instances=[instance(server.port)])
        assert result["failed"]
        assert result["msg"].endswith(f"instance ranker: model m is not proven: {UNPROVEN}")
        assert not run(instances=[instance(server.port)], models=[{"name": "m", "probe": False}]).get("failed")


def contract(shape: list[int]) -> dict[str, object]:
    return {"name": "m", "contract": {"inputs": {"x": {"dtype": "DT_FLOAT", "shape": shape}}}}


def test_a_served_model_that_departs_from_its_contract_is_a_failure(watch):
    with FakeServer(m=Model({7: "AVAILABLE"})) as server:
        assert wait(watch(instance(server.port), models=[contract([-1, 1])])) is None
        assert wait(watch(instance(server.port), models=[contract([-1, 2])])) == (
            "model m version 7 departs from its contract: input x is DT_FLOAT [-1, 1] and not DT_FLOAT [-1, 2]; "
            "export a model that keeps it, or correct the contract"
        )


def test_a_served_model_that_cannot_be_batched_is_a_failure_where_batches_are_formed(watch):
    scalar = {"x": {"dtype": "DT_FLOAT", "tensor_shape": {}}}
    batching = {"flags": {"enable_batching": True}}
    with FakeServer(m=Model({7: "AVAILABLE"}, signatures={"serving_default": {"inputs": scalar}})) as server:
        assert wait(watch(instance(server.port))) is None
        assert wait(watch({**instance(server.port), **batching})) == (
            "model m version 7 cannot be served in batches: input x of signature serving_default is a scalar; "
            "write batching: {enabled: false} for this instance, or export it with a free first dimension"
        )


def test_several_guesses_are_tried_where_the_shapes_are_open(watch):
    image = {"x": {"dtype": "DT_FLOAT", "tensor_shape": {"dim": [{"size": "-1"}] * 3 + [{"size": "3"}]}}}
    model = Model({7: "AVAILABLE"}, signatures={"serving_default": {"inputs": image}})
    model.least = 32
    with FakeServer(m=model) as server:
        assert wait(watch(instance(server.port))) is None
        tried = [len(body["inputs"]["x"][0]) for method, _path, body in server.calls if method == "POST"]
        assert tried == [1, 32, 32]


def test_what_server_and_log_say_draws_nothing_in_the_terminal(watch, host):
    host.log["unit"] = host.log["abc123"] = ["E \x1b[2Jtensorflow\u202e", "x" * 5000]
    host.unit |= {"ActiveState": "failed", "SubState": "failed"}
    with FakeServer(m=Model({7: ("NOT_FOUND", "boom\r\nlab-b  forged")})) as server:
        observed = watch(instance(server.port))
        result = serving_watch.failure(observed, serving_watch.GivenUpError("boom\r\n\x1b[2J"))
    assert result["msg"].replace("\n", "").isprintable()
    assert result["msg"].splitlines()[-1] == r"instance ranker: boom\r\n\x1b[2J"
    assert result["log"] == [r"E \x1b[2Jtensorflow\u202e", "x" * 999 + "…"]


def test_a_failed_load_whose_error_has_lines_is_reported_in_one(watch, host):
    with FakeServer(m=Model({7: ("NOT_FOUND", "boom\r\nlab-b  forged")})) as server:
        observed = watch(instance(server.port))
        reason = wait(observed)
    assert reason.startswith(r"model m version 7 failed to load: NOT_FOUND: boom\r\nlab-b  forged;")
    assert len(reason.splitlines()) == 1
    assert observed.report()["problem"] == reason
