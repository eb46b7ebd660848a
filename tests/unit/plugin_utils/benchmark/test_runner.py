# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The generator on a load host: started detached, followed, fetched, and ended where nobody follows."""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark import runner

# Stands for the generator: it does what its spec says, where it is called as the generator is.
PROGRAM = """
import json, os, sys, time
what, spec, *rest = sys.argv[1:]
if what == "calibrate":
    rest, do = [spec], {}
else:
    do = json.load(open(spec))
if do.get("refuse"):
    print(do["refuse"], file=sys.stderr)
    sys.exit(2)
if what == "look":
    print(json.dumps({"seen": do["target"]}))
    sys.exit()
out = rest[0]
tls = (do.get("target") or {}).get("tls") or {}
if tls.get("key_file"):
    file = tls["key_file"]
    do["text"] = json.dumps({"key": open(file).read(), "mode": os.stat(file).st_mode & 0o777, **tls})
print("a line of its log")
if do.get("die"):
    print("Traceback: out of memory", file=sys.stderr)
    sys.exit(1)
with open(f"{out}/status.json", "w") as file:
    json.dump({"t": 1, "phase": "warmup"}, file)
while do.get("wait") and not os.path.exists(do["wait"]):
    time.sleep(0.01)
name = "calibration" if what == "calibrate" else "result"
with open(f"{out}/{name}.json", "w") as file:
    file.write(do.get("text") or json.dumps({"did": what, "rate": do.get("rate")}))
sys.exit(do.get("exit", 0))
"""


def shell(command):
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=False)
    return runner.Answer(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def place(tmp_path):
    package = tmp_path / "a program" / "tfserving_load"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(PROGRAM)
    folder = tmp_path / "a run"
    folder.mkdir()
    return runner.Place(
        "load-1", shell, lambda path, text: Path(path).write_text(text), "python3", str(package.parent), str(folder)
    )


def group_lives(pid):
    listed = subprocess.run(["ps", "-o", "stat=", "-g", str(pid)], capture_output=True, text=True, check=False)
    return any(not state.startswith("Z") for state in listed.stdout.split())


def refusal(iterator):
    with pytest.raises(WishError) as refused:
        list(iterator)
    return str(refused.value)


def test_progress_is_told_and_then_the_result(place, tmp_path):
    go = tmp_path / "go"
    steps = runner.measure(place, "run", {"rate": 5, "wait": str(go)}, 60)
    assert next(steps) == {"t": 1, "phase": "warmup"}
    go.touch()
    *_, last = steps
    assert last == {"did": "run", "rate": 5}


def test_a_calibration_has_a_file_of_its_own(place):
    *_, last = runner.measure(place, "calibrate", {}, 60)
    assert last == {"did": "calibrate", "rate": None}


def test_an_interrupted_run_has_a_result(place):
    *_, last = runner.measure(place, "run", {"rate": 5, "exit": 3}, 60)
    assert last["rate"] == 5


def test_a_trace_runs_beside_a_stage_and_is_awaited_after_it(place, tmp_path):
    go = tmp_path / "go"
    with runner.beside(place, "trace", {"rate": 1, "wait": str(go)}, 60) as awaited:
        *_, stage = runner.measure(place, "run", {"rate": 5}, 60)
        go.touch()
        assert (stage["did"], awaited()) == ("run", {"did": "trace", "rate": 1})


def test_what_runs_beside_a_stage_that_fails_is_ended(place, tmp_path):
    with pytest.raises(WishError), runner.beside(place, "trace", {"wait": str(tmp_path / "never")}, 60):
        list(runner.measure(place, "run", {"refuse": "no"}, 60))
    pid = int((Path(place.folder) / "trace" / "out" / "pid").read_text())
    while group_lives(pid):  # a test that hangs is ended from outside
        time.sleep(0.01)


def test_a_question_is_answered_at_once(place):
    assert runner.ask(place, "look", {"target": {"host": "gpu-a"}}) == {"seen": {"host": "gpu-a"}}


def test_a_refusal_is_the_generators_sentence(place):
    sentence = "load host load-1: rate: is beyond what one host sends"
    assert refusal(runner.measure(place, "run", {"refuse": "rate: is beyond what one host sends"}, 60)) == sentence
    with pytest.raises(WishError) as refused:
        runner.ask(place, "look", {"refuse": "rate: is beyond what one host sends"})
    assert str(refused.value) == sentence


def test_the_last_line_of_the_log_tells_of_its_death(place):
    assert refusal(runner.measure(place, "run", {"die": True}, 60)) == "load host load-1: Traceback: out of memory"


@pytest.mark.parametrize("text", ["[]", "{", "\x1b[2J"])
def test_a_result_of_another_shape_is_refused(place, text):
    assert refusal(runner.measure(place, "run", {"text": text}, 60)) == (
        "load host load-1: its answer is no JSON object"
    )


def test_a_generator_that_does_not_end_is_ended(place, tmp_path):
    clock = iter(range(0, 10_000, 50)).__next__
    never = tmp_path / "never"
    found = refusal(runner.measure(place, "run", {"wait": str(never)}, 60, clock, lambda _: None))
    assert found == "tfserving_load: the load generator on load-1 has not ended in time; run again"
    pid = int((Path(place.folder) / "out" / "pid").read_text())
    while group_lives(pid):  # a test that hangs is ended from outside
        time.sleep(0.01)
    assert not (Path(place.folder) / "out" / "alive").exists()


def test_asking_for_progress_keeps_the_generator_alive(place, tmp_path):
    go = tmp_path / "go"
    steps = runner.measure(place, "run", {"wait": str(go)}, 60)
    next(steps)
    alive = Path(place.folder) / "out" / "alive"
    alive.unlink()
    next(steps)
    assert alive.exists()
    go.touch()
    assert json.loads(json.dumps(list(steps)[-1]))["did"] == "run"


def with_key(source, **others):
    return {"target": {"tls": {"ca": "PEM", "certificate": "PEM", "key_file": None, "key_source": source}}, **others}


@pytest.fixture
def key(tmp_path):
    file = tmp_path / "caller.pem"
    file.write_text("the key")
    return file


def test_a_key_of_the_controller_is_on_the_load_host_as_long_as_it_is_used(place, key):
    *_, last = runner.measure(place, "run", with_key(str(key)), 60)
    assert (last["key"], last["mode"]) == ("the key", 0o600)
    assert Path(last["key_file"]).parent == Path(place.folder)
    assert not Path(last["key_file"]).exists()
    # What the generator reads has no trace of the controller, and no secret.
    spec = (Path(place.folder) / "spec.json").read_text()
    assert "key_source" not in spec
    assert "the key" not in spec


def test_a_question_has_the_key_too_and_it_goes_with_the_answer(place, key):
    found = runner.ask(place, "look", with_key(str(key)))["seen"]["tls"]
    assert found["key_file"].startswith(place.folder)
    assert not Path(found["key_file"]).exists()


def test_a_key_goes_with_a_run_that_fails(place, key):
    refusal(runner.measure(place, "run", with_key(str(key), refuse="no"), 60))
    assert sorted(each.name for each in Path(place.folder).iterdir()) == ["out", "spec.json"]


def test_a_key_on_the_load_host_is_used_where_it_is(place, key):
    spec = with_key(None)
    spec["target"]["tls"]["key_file"] = str(key)
    *_, last = runner.measure(place, "run", spec, 60)
    assert last["key_file"] == str(key)
    assert key.exists()


def test_no_command_holds_the_key(place, key):
    commands = []
    watched = replace(place, run=lambda command: [commands.append(command), shell(command)][1])
    list(runner.measure(watched, "run", with_key(str(key)), 60))
    assert commands
    assert not any("the key" in command for command in commands)


def test_a_stage_that_was_begun_is_fetched_by_another_task_and_leaves_nothing(place):
    for name in ("a-direct", "b-direct"):
        runner.begin(place, name, {"rate": 8})
    other = replace(place)
    assert [runner.end(other, name, 1)["rate"] for name in ("a-direct", "b-direct")] == [8, 8]
    assert not Path(place.folder, "a-direct").exists()


def test_a_stage_that_was_begun_and_died_is_one_sentence_and_leaves_nothing(place):
    runner.begin(place, "a-direct", {"die": True})
    with pytest.raises(WishError, match=r"^load host .*: Traceback: out of memory$"):
        runner.end(place, "a-direct", 1)
    assert not Path(place.folder, "a-direct").exists()


def test_a_stage_that_was_begun_keeps_its_key_until_it_is_fetched(place, tmp_path):
    key = tmp_path / "caller.pem"
    key.write_text("the key")
    tls = {"ca": None, "name": None, "certificate": "x", "key_file": None, "key_source": str(key)}
    runner.begin(place, "a-direct", {"target": {"tls": tls}})
    found = runner.end(place, "a-direct", 1)
    assert (found["key"], found["mode"]) == ("the key", 0o600)
    assert not Path(place.folder, "a-direct").exists()
