# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Batching of a serving host swapped as versions of its model: the same process, other batches, and the way back."""

from __future__ import annotations

import json

import pytest

FILES = "find /etc -xdev -type f -exec sha256sum {} + | sort"
FOLDER = "/run/tfserving-trial/main"
MODELS = f"""model_config_list {{ config {{
    name: "digits" base_path: "{FOLDER}/models/digits" model_platform: "tensorflow"
}} }}"""
# Set by the trial itself.
OWN = ("--batching_parameters_file=", "--model_config_file=")


@pytest.fixture
def trials(site, tmp_path):
    """Call the module with each of some options, one after the other; return its results."""

    def run(*calls):
        results, playbook = tmp_path / "results.json", tmp_path / "trials.yml"
        tasks = [
            {"tfserving.fleet.instance_trial": options, "register": f"result_{number}"}
            for number, options in enumerate(calls)
        ]
        names = ", ".join(f"result_{number}" for number in range(len(calls)))
        keep = {"content": f"{{{{ [{names}] | to_json }}}}", "dest": str(results), "mode": "0600"}
        tasks.append({"ansible.builtin.copy": keep, "delegate_to": "localhost", "become": False})
        playbook.write_text(json.dumps([{"hosts": "tfserving", "gather_facts": False, "become": True, "tasks": tasks}]))
        done = site(playbook=str(playbook))
        assert done.status == 0, done.output
        return json.loads(results.read_text())

    return run


def version(arguments, number, rows, timeout):
    """The options that put batches of so many rows in force as a version of the model."""
    file = f"max_batch_size {{ value: {rows} }} batch_timeout_micros {{ value: {timeout} }}"
    shared = "max_batch_size { value: 1 } num_batch_threads { value: 2 }"
    entry = {"model": "digits", "version": 1, "as": number, "files": {"batching_params.pbtxt": file}}
    return {
        "instance": "main",
        "owner": "versions",
        "expires_s": 120,
        "arguments": arguments,
        "files": {"batching.config": shared, "models.config": MODELS},
        "versions": [{**entry, "max_batch_size": rows}],
    }


def refusal(main, known, rows):
    row = known("digits")["request"]["instances"][0]
    return main.predict("digits", {"instances": [row] * rows})["error"]


def test_settings_are_swapped_without_a_restart_and_the_host_is_as_it_was(trials, host, main, known):
    files, command, pid = host.check_output(FILES), main.command_line(), main.pid
    arguments = [word for word in command if word.startswith("--") and not word.startswith(OWN)]
    arguments += [
        f"--batching_parameters_file={FOLDER}/batching.config",
        f"--model_config_file={FOLDER}/models.config",
        "--enable_per_model_batching_parameters=true",
    ]
    first, second = trials(version(arguments, 1001, 4, 0), version(arguments, 1002, 8, 500))
    assert [each["runs"] for each in (first, second)] == ["trial", "trial"]
    assert pid != first["pid"] == second["pid"] == main.pid
    assert main.states("digits") == {"1001": "END", "1002": "AVAILABLE"}
    assert refusal(main, known, 9) == "Task size 9 is larger than maximum input batch size 8"
    assert host.check_output(f"ls {FOLDER}/models/digits") == "1002"
    (back,) = trials({"instance": "main", "state": "absent"})
    assert (back["changed"], back["runs"], back["armed"]) == (True, "plan", False)
    assert main.states("digits") == {"1": "AVAILABLE"}
    assert main.command_line() == command
    assert host.check_output(FILES) == files
    assert host.run(f"ls {FOLDER} /run/systemd/system/tfserving@main.service.d").rc != 0
