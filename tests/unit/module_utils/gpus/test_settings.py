# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Settings of GPUs as a wish: compared, checked against what the GPU takes, set, remembered and given back."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.gpus import setting_wishes as gpu_setting_wishes
from ansible_collections.tfserving.fleet.plugins.module_utils.gpus import settings as gpu_settings
from repository import REPOSITORY
from running import run_module_alone

SIMULATED = REPOSITORY / "lab" / "simulated_gpu"
CLOCKS = {"graphics_clock_mhz": [345, 1965, 1980], "memory_clock_mhz": [1593, 3201]}


def gpu(index=0, **answers):
    return {
        "index": str(index),
        "uuid": f"GPU-{index}",
        "name": "NVIDIA H200",
        "power.limit": "700.00",
        "power.default_limit": "700.00",
        "power.min_limit": "200.00",
        "power.max_limit": "700.00",
        "ecc.mode.current": "Enabled",
        "ecc.mode.pending": "Enabled",
        "compute_mode": "Default",
        "absent": {},
        **answers,
    }


def changes(wish, one=None, locks=None, originals=None, clocks=CLOCKS):
    one = one or gpu()
    wanted = gpu_setting_wishes.wishes([wish] if wish else [], [one])["GPU-0"]
    return gpu_settings.changes(one, wanted, clocks, locks or {}, originals or {})


@pytest.mark.parametrize(
    ("wish", "argument", "undo", "before", "after"),
    [
        ({"power_limit_w": 500}, "--power-limit=500", "--power-limit=700", "700 W", "500 W"),
        (
            {"graphics_clock_mhz": 1965},
            "--lock-gpu-clocks=1965,1965",
            "--reset-gpu-clocks",
            "not locked",
            "locked to 1965-1965 MHz",
        ),
        (
            {"graphics_clock_mhz": [345, 1980]},
            "--lock-gpu-clocks=345,1980",
            "--reset-gpu-clocks",
            "not locked",
            "locked to 345-1980 MHz",
        ),
        (
            {"memory_clock_mhz": 3201},
            "--lock-memory-clocks=3201,3201",
            "--reset-memory-clocks",
            "not locked",
            "locked to 3201-3201 MHz",
        ),
        ({"ecc": False}, "--ecc-config=0", "--ecc-config=1", "enabled", "disabled"),
        (
            {"compute_mode": "exclusive_process"},
            "--compute-mode=EXCLUSIVE_PROCESS",
            "--compute-mode=DEFAULT",
            "default",
            "exclusive_process",
        ),
    ],
)
def test_what_differs_is_set(wish, argument, undo, before, after):
    (change,) = changes(wish)
    assert change.command == ["nvidia-smi", "--id=GPU-0", argument]
    assert change.undo == ["nvidia-smi", "--id=GPU-0", undo]
    assert (change.before, change.after) == (before, after)


@pytest.mark.parametrize(
    ("wish", "locks"),
    [
        ({"power_limit_w": 700}, {}),
        ({"ecc": True}, {}),
        ({"compute_mode": "default"}, {}),
        ({"graphics_clock_mhz": 1965}, {"graphics_clock_mhz": [1965, 1965]}),
    ],
)
def test_what_is_so_already_is_left_alone(wish, locks):
    assert changes(wish, locks=locks) == []


def test_what_is_no_longer_wished_goes_back_to_what_it_was():
    one = gpu(**{"power.limit": "500.00", "compute_mode": "Exclusive_Process"})
    originals = {"power_limit_w": 700.0, "compute_mode": "default"}
    back = changes(None, one, {"graphics_clock_mhz": [345, 345]}, originals)
    assert [change.command[2] for change in back] == [
        "--power-limit=700",
        "--reset-gpu-clocks",
        "--compute-mode=DEFAULT",
    ]


def test_a_gpu_that_was_never_touched_is_left_alone():
    assert changes(None, gpu(**{"power.limit": "500.00"})) == []


REFUSALS = [
    (
        {"power_limit_w": 900},
        {},
        "nvidia_driver_gpu_settings[0].power_limit_w: 900 W is outside the range of GPU 0 (NVIDIA H200), 200 to"
        " 700 W; give"
        " a value within",
    ),
    (
        {"graphics_clock_mhz": 2500},
        {},
        "nvidia_driver_gpu_settings[0].graphics_clock_mhz: 2500-2500 MHz is outside the range of GPU 0 (NVIDIA H200),"
        " 345 to"
        " 1980 MHz; give clocks within",
    ),
    (
        {"graphics_clock_mhz": [1980, 345]},
        {},
        "nvidia_driver_gpu_settings[0].graphics_clock_mhz: is [1980, 345]; give one clock, or the lowest and the"
        " highest",
    ),
    (
        {"ecc": True},
        {"ecc.mode.pending": None},
        "nvidia_driver_gpu_settings[0].ecc: GPU 0 (NVIDIA H200) has no ECC to set; leave it out for this GPU",
    ),
    (
        {"power_limit_w": 70},
        {"power.limit": None},
        "nvidia_driver_gpu_settings[0].power_limit_w: GPU 0 (NVIDIA H200) has no power limit to set; leave it out"
        " for this"
        " GPU",
    ),
    (
        {"power_limit_w": 70},
        {"power.limit": None, "absent": {"power.limit": "failed"}},
        "nvidia_driver_gpu_settings[0].power_limit_w: nvidia-smi could not report the power limit of GPU 0"
        " (NVIDIA H200); see nvidia-smi -q",
    ),
    (
        {"ecc": True},
        {"absent": {"temperature.gpu": "lost"}},
        "nvidia_driver_gpu_settings[0]: GPU 0 (NVIDIA H200) is lost; take the host out of rotation and reboot it; call"
        " the vendor when it returns",
    ),
    (
        {"ecc": True},
        {"uuid": None},
        "nvidia_driver_gpu_settings[0]: GPU 0 (NVIDIA H200) does not report a UUID of its own; leave it out, or reboot"
        " the host",
    ),
    (
        {"gpus": "A100", "ecc": True},
        {"name": None},
        "nvidia_driver_gpu_settings[0].gpus: names 'A100', and the host has 0 (without a name); choose among those,"
        " or all",
    ),
    (
        {"ecc": "on"},
        {},
        "nvidia_driver_gpu_settings[0].ecc: is the string 'on'; give true or false",
    ),
    (
        {"compute_mode": "exclusive"},
        {},
        "nvidia_driver_gpu_settings[0].compute_mode: is the string 'exclusive'; did you mean 'exclusive_process'?",
    ),
    (
        {"power_limit": 500},
        {},
        "nvidia_driver_gpu_settings[0].power_limit: is not a setting of a GPU; did you mean 'power_limit_w'?",
    ),
    (
        {"power_limit_w": "0500"},
        {},
        "nvidia_driver_gpu_settings[0].power_limit_w: is the string '0500'; give a whole number",
    ),
    (
        {"power_limit_w": [300, 500]},
        {},
        "nvidia_driver_gpu_settings[0].power_limit_w: holds several values; give a whole number",
    ),
    (
        {"gpus": [3], "ecc": True},
        {},
        "nvidia_driver_gpu_settings[0].gpus: names 3, and the host has 0 (NVIDIA H200); choose among those, or all",
    ),
    # What the fuzzer found: tracebacks, and sentences that repeat what may be a secret or are without end.
    (
        {"gpus": ["Bearer abc"], "ecc": True},
        {},
        "nvidia_driver_gpu_settings[0].gpus: names a string, and the host has 0 (NVIDIA H200); choose among those, or"
        " all",
    ),
    (
        {"gpus": [{}], "ecc": True},
        {},
        "nvidia_driver_gpu_settings[0].gpus: names a mapping; give indexes, UUIDs or names of GPUs, or all",
    ),
    (
        {"TOKEN=abc": 1},
        {},
        "nvidia_driver_gpu_settings[0]: holds a key that is no setting of a GPU; the keys are gpus, power_limit_w,"
        " graphics_clock_mhz, memory_clock_mhz, ecc, compute_mode",
    ),
    (
        {"graphics_clock_mhz": []},
        {},
        "nvidia_driver_gpu_settings[0].graphics_clock_mhz: is a list; give a whole number or two",
    ),
    (
        {"graphics_clock_mhz": list(range(900, 0, -1))},
        {},
        "nvidia_driver_gpu_settings[0].graphics_clock_mhz: holds 900 values; give one clock, or the lowest and the"
        " highest",
    ),
    (
        {"compute_mode": ["default"]},
        {},
        "nvidia_driver_gpu_settings[0].compute_mode: is a list; choose one of default, exclusive_process, prohibited",
    ),
    (
        {"power_limit_w": 2**62},
        {},
        "nvidia_driver_gpu_settings[0].power_limit_w: is the number 4611686018427387904; give a whole number",
    ),
]


@pytest.mark.parametrize(("wish", "answers", "sentence"), REFUSALS)
def test_what_a_gpu_does_not_take_is_refused_in_one_sentence(wish, answers, sentence):
    with pytest.raises(WishError) as caught:
        changes(wish, gpu(**answers))
    assert str(caught.value) == sentence


def test_an_entry_that_is_no_mapping_is_refused():
    with pytest.raises(WishError) as caught:
        gpu_setting_wishes.wishes(["ecc"], [gpu()])
    assert str(caught.value).startswith("nvidia_driver_gpu_settings[0]: is the string 'ecc'; give a mapping of gpus,")


@pytest.mark.parametrize("wanted", [1, [1], ["GPU-1"], "*H100*", ["*H100*"], "NVIDIA H100 [80GB]"])
def test_gpus_are_chosen_by_index_uuid_or_name(wanted):
    two = [gpu(0), gpu(1, name="NVIDIA H100 [80GB]")]
    found = gpu_setting_wishes.wishes([{"gpus": wanted, "ecc": True}], two)
    assert [uuid for uuid, wishes in found.items() if wishes] == ["GPU-1"]


def test_the_last_entry_counts():
    found = gpu_setting_wishes.wishes([{"power_limit_w": 300}, {"gpus": [0], "power_limit_w": 400}], [gpu(0), gpu(1)])
    assert [wishes["power_limit_w"].value for wishes in found.values()] == [400, 300]


def test_a_boot_sets_again_what_gpus_forget():
    wanted = gpu_setting_wishes.wishes([{"power_limit_w": 300, "ecc": True, "compute_mode": "prohibited"}], [gpu()])
    assert gpu_settings.boot_commands(wanted) == [
        ["nvidia-smi", "--id=GPU-0", "--compute-mode=PROHIBITED"],
        ["nvidia-smi", "--id=GPU-0", "--power-limit=300"],
    ]


def test_ecc_that_waits_for_a_reset_is_told():
    waiting = gpu(**{"ecc.mode.pending": "Disabled"})
    assert gpu_settings.pending_reasons([waiting], []) == [
        "ECC of GPU 0 (NVIDIA H200) becomes disabled with the next reset"
    ]
    assert gpu_settings.pending_reasons([gpu()], changes({"ecc": False})) == [
        "ECC of GPU 0 (NVIDIA H200) becomes disabled with the next reset"
    ]
    assert gpu_settings.pending_reasons([gpu()], []) == []
    silent = gpu(**{"ecc.mode.pending": None, "absent": {"ecc.mode.pending": "failed"}})
    assert gpu_settings.pending_reasons([silent], []) == []


class TestModule:
    """The module itself, as Ansible runs it, against the simulated machine."""

    @pytest.fixture
    def run(self, tmp_path, monkeypatch):
        program = tmp_path / "bin" / "nvidia-smi"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -B {SIMULATED}/nvidia_smi.py "$@"\n', encoding="utf-8")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
        monkeypatch.setenv("SIMULATED_GPU", str(tmp_path))
        build = "import machine; machine.write(machine.build('two-kinds'))"
        subprocess.run([sys.executable, "-B", "-c", build], cwd=SIMULATED, check=True)

        def module(*settings, check=False, ignore=()):
            arguments = {
                "settings": list(settings),
                "ignore": list(ignore),
                "sysroot": str(tmp_path),
                "record": str(tmp_path / "record" / "gpus.json"),
                "_ansible_check_mode": check,
            }
            return run_module_alone("nvidia_gpu_settings", tmp_path, **arguments)

        module.machine = lambda: json.loads((tmp_path / "state.json").read_text())["gpus"]
        module.record = tmp_path / "record" / "gpus.json"
        return module

    def test_it_sets_once_and_gives_back(self, run):
        wish = {"gpus": "*H200*", "power_limit_w": 500, "graphics_clock_mhz": 1200}
        first, second = run(wish), run(wish)
        assert (first["changed"], len(first["changes"]), second["changed"]) == (True, 8, False)
        assert [gpu["power.limit"] for gpu in run.machine()] == [500.0] * 4 + [70] * 4
        back = run()
        assert back["changed"]
        assert [gpu["power.limit"] for gpu in run.machine()] == [700.0] * 4 + [70] * 4
        assert not run.record.exists(), "nothing is left to remember"

    def test_check_mode_sets_nothing(self, run):
        result = run({"gpus": [4], "power_limit_w": 65}, check=True)
        assert [sorted(change) for change in result["changes"]] == [["after", "before", "gpu", "key"]]
        assert run.machine()[4]["power.limit"] == 70
        assert not run.record.exists()

    def test_a_gpu_that_is_left_out_gets_no_setting(self, run):
        assert len(run({"power_limit_w": 500}, ignore=["10de:1eb8"])["changes"]) == 4
        assert [gpu["power.limit"] for gpu in run.machine()] == [500.0] * 4 + [70] * 4
        named = run({"gpus": [4], "power_limit_w": 65}, ignore=["10de:1eb8"])
        assert named["msg"].startswith("nvidia_driver_gpu_settings[0].gpus: names 4, and the host has 0 (NVIDIA H200)")
        assert "nvidia_driver_ignore[0]" in run(ignore=["T4"])["msg"]

    def test_a_value_that_one_gpu_does_not_take_changes_no_gpu(self, run):
        result = run({"power_limit_w": 500})
        assert result["failed"]
        assert "500 W is outside the range of GPU 4 (Tesla T4), 60 to 70 W" in result["msg"]
        assert run.machine()[0]["power.limit"] == 700

    def test_a_lock_that_was_refused_is_set_by_the_next_run(self, run, tmp_path):
        machine = json.loads((tmp_path / "state.json").read_text())
        broken = {**machine, "refuses": "--lock-gpu-clocks"}
        (tmp_path / "state.json").write_text(json.dumps(broken))
        wish = {"gpus": [0], "graphics_clock_mhz": 1200}
        refused = run(wish)
        uuid = machine["gpus"][0]["uuid"]
        assert refused["msg"] == (
            f"nvidia_driver_gpu_settings[0].graphics_clock_mhz: graphics_clock_mhz of {uuid} could not be set (not"
            " locked -> locked to 1200-1200 MHz); nvidia-smi --lock-gpu-clocks failed with code 255: Setting was not"
            " changed: Unknown Error"
        )
        (tmp_path / "state.json").write_text(json.dumps(machine))
        assert [run(wish)["changed"], run(wish)["changed"]] == [True, False]
        assert run.machine()[0]["locked.graphics"] == "1200,1200"

    def test_a_setting_that_nvidia_smi_only_warns_of_is_refused(self, run, tmp_path):
        machine = json.loads((tmp_path / "state.json").read_text())
        (tmp_path / "state.json").write_text(json.dumps({**machine, "lacks": "--lock-gpu-clocks"}))
        before = run.machine()
        refused = run({"gpus": [0], "power_limit_w": 500, "graphics_clock_mhz": 1200})
        assert "graphics_clock_mhz of" in refused["msg"]
        assert "not supported" in refused["msg"]
        assert refused["msg"].endswith("; earlier settings are restored")
        assert run.machine() == before
        assert not run().get("failed"), "what was never set needs not be let go"
        assert not run.record.exists()

    def test_a_gpu_whose_row_is_cut_short_is_not_passed_over(self, run, tmp_path):
        machine = json.loads((tmp_path / "state.json").read_text())
        machine["gpus"][1]["cut_short"] = 60
        (tmp_path / "state.json").write_text(json.dumps(machine))
        assert "nvidia_driver_gpu_settings: nvidia-smi cut a row short: 1, GPU-" in run({"ecc": True})["msg"]

    def test_a_gpu_that_is_gone_for_a_run_keeps_what_it_was_before(self, run, tmp_path):
        run({"gpus": [0], "power_limit_w": 500})
        machine = json.loads((tmp_path / "state.json").read_text())
        (tmp_path / "state.json").write_text(json.dumps({**machine, "gpus": machine["gpus"][1:]}))
        run()
        (tmp_path / "state.json").write_text(json.dumps(machine))
        run()
        assert run.machine()[0]["power.limit"] == 700

    def test_what_was_set_before_a_refusal_is_taken_back(self, run, tmp_path):
        run({"gpus": [0], "graphics_clock_mhz": 900})
        before = run.machine()
        machine = json.loads((tmp_path / "state.json").read_text())
        (tmp_path / "state.json").write_text(json.dumps({**machine, "refuses": "--compute-mode"}))
        wish = {"gpus": [0], "power_limit_w": 500, "graphics_clock_mhz": 1200, "ecc": False}
        refused = run(wish, {"gpus": [0], "compute_mode": "prohibited"})
        assert refused["msg"].endswith("Setting was not changed: Unknown Error; earlier settings are restored")
        assert run.machine() == before
        assert json.loads(run.record.read_text())["locks"] == {
            machine["gpus"][0]["uuid"]: {"graphics_clock_mhz": [900, 900]}
        }

    def test_a_lock_that_was_refused_is_let_go_where_it_is_no_longer_wished(self, run, tmp_path):
        machine = json.loads((tmp_path / "state.json").read_text())
        (tmp_path / "state.json").write_text(json.dumps({**machine, "refuses": "--lock-gpu-clocks"}))
        run({"gpus": [0], "graphics_clock_mhz": 1200})
        assert [change["after"] for change in run()["changes"]] == ["not locked"]
        assert not run.record.exists()

    @pytest.mark.parametrize("content", ["{", "[]", '{"locks": {"GPU-1": {"graphics_clock_mhz": [5]}}}', "\0", "1e999"])
    def test_a_damaged_record_is_refused_in_one_sentence(self, run, content):
        run.record.parent.mkdir()
        run.record.write_text(content)
        assert run({"gpus": [0], "power_limit_w": 500})["msg"] == (
            f"{run.record}: is damaged; delete it, which forgets what the settings were before"
        )
