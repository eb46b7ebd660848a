# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The pipelines that people copy: their form, what they call, and what they let nobody see."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from documented_commands import of_pipeline, problem, scripts
from repository import REPOSITORY

EXAMPLES = REPOSITORY / "examples/ci"
ACTION = EXAMPLES / "github/actions/ansible/action.yml"
WORKFLOWS = sorted((EXAMPLES / "github/workflows").glob("*.yml"))
GITLAB = EXAMPLES / "gitlab/.gitlab-ci.yml"
PIPELINES = [*WORKFLOWS, ACTION, GITLAB]

# GitHub's documentation, "Workflow syntax": what these workflows may use of it.
WORKFLOW_KEYS = {"name", "on", "permissions", "env", "jobs"}
JOB_KEYS = {
    *("name", "if", "runs-on", "timeout-minutes", "environment", "permissions", "concurrency", "env", "steps"),
}
STEP_KEYS = {"name", "if", "uses", "with", "env", "run", "shell", "id"}

SECRETS = ("FLEET_SSH_KEY", "VAULT_PASSWORD", "HCLOUD_TOKEN", "PLAN_NOTE_TOKEN", "SSH_KEY", "GH_TOKEN")


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def jobs(path: Path) -> dict[str, Any]:
    return load(path)["jobs"]


def steps() -> Iterator[Any]:
    for path in WORKFLOWS:
        for name, job in jobs(path).items():
            for number, step in enumerate(job["steps"]):
                yield pytest.param(step, id=f"{path.stem} {name} {number}")
    for number, step in enumerate(load(ACTION)["runs"]["steps"]):
        yield pytest.param(step, id=f"action {number}")


COMMANDS = [
    pytest.param(words, id=f"{path.name}: {shlex.join(words)}"[:90])
    for path in PIPELINES
    for words in of_pipeline(path)
]


@pytest.mark.parametrize("words", COMMANDS)
def test_each_command_is_one_that_ansible_takes(words):
    assert problem(words) == ""


def test_plan_apply_drift_and_suite_are_there_for_both():
    for paths in (WORKFLOWS, [GITLAB]):
        commands = [words for path in paths for words in of_pipeline(path) if words[0] == "ansible-playbook"]
        assert sorted(next(word for word in words if word.startswith("tfserving.")) for words in commands) == [
            *["tfserving.fleet.plan"] * 2,
            *["tfserving.fleet.site"] * 2,
        ]
        assert sum("plan_exit_code=true" in words for words in commands) == 1


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_has_githubs_form_and_the_least_permissions(path):
    workflow = load(path)
    # To YAML 1.1 the key "on" is true.
    assert {"on" if key is True else key for key in workflow} <= WORKFLOW_KEYS
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert set(job) <= JOB_KEYS
        assert {"name", "runs-on", "timeout-minutes", "environment", "steps"} <= set(job)
        more = {name for name, right in job.get("permissions", {}).items() if right != "read"}
        assert more <= {"pull-requests"}


@pytest.mark.parametrize("step", list(steps()))
def test_a_step_is_pinned_and_reads_nothing_of_others_into_a_script(step):
    assert set(step) <= STEP_KEYS
    assert ("run" in step) != ("uses" in step)
    if "uses" in step:
        assert step["uses"].startswith("./") or re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", step["uses"])
    # What a pull request names itself would be run as a command, and a secret would stand on a command line.
    assert "${{" not in step.get("run", "")


def test_the_pinned_actions_are_those_that_our_own_workflows_use():
    own = "".join(path.read_text() for path in (REPOSITORY / ".github/workflows").glob("*.yml"))
    used = set(re.findall(r"uses: (\S+@[0-9a-f]{40}  # v\S+)", "".join(path.read_text() for path in PIPELINES)))
    assert len(used) == 3
    assert not {action for action in used if action not in own}


def test_a_pull_request_of_a_fork_gets_no_secret():
    for path in WORKFLOWS:
        for name, job in jobs(path).items():
            if "pull_request" in str(load(path).get(True)) and "secrets." in json.dumps(job):
                same = "github.event.pull_request.head.repo.full_name == github.repository"
                assert same in job["if"] or "pull_request" not in job["if"], name


def test_the_gitlab_pipeline_has_its_form():
    pipeline = load(GITLAB)
    named = {name: job for name, job in pipeline.items() if isinstance(job, dict) and "script" in job}
    assert set(named) == {"plan", "apply", "drift", "inference-tests"}
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-bookworm", pipeline["default"]["image"])
    for job in named.values():
        assert job["stage"] in pipeline["stages"]
        assert job["extends"] in pipeline
        assert {"timeout", "rules", "artifacts"} <= set(job)
    assert named["apply"]["resource_group"] == "fleet"


@pytest.mark.parametrize("path", PIPELINES, ids=lambda path: path.name)
def test_scripts_are_shell_and_give_no_secret_to_a_program(path, tmp_path):
    for number, script in enumerate(scripts(load(path))):
        file = tmp_path / str(number)
        file.write_text(script)
        subprocess.run(["bash", "-n", str(file)], check=True)
        for name in re.findall(r"\$\{?(\w+)", script):
            if name in SECRETS and name != "FLEET_SSH_KEY":  # that one is the path of a file
                safe = (f'<<< "${name}"', f"""\\n' "${name}" |""", f"${{{name}:-}}")
                assert any(form in script for form in safe), f"{name} in {script}"


def test_the_versions_are_those_of_the_collection_and_of_the_pages():
    version = load(REPOSITORY / "galaxy.yml")["version"]
    (collection,) = load(EXAMPLES / "collections/requirements.yml")["collections"]
    assert collection == {"name": "tfserving.fleet", "version": version}
    page = (REPOSITORY / "docs/install.md").read_text()
    assert set(re.findall(r"version: (\d+\.\d+\.\d+)", page)) == {version}
    core = re.search(r"^ansible-core==\S+$", (EXAMPLES / "requirements.txt").read_text(), re.MULTILINE)
    assert core is not None
    assert core[0] in page


def test_the_vaults_password_comes_from_the_environment():
    script = EXAMPLES / "ci/vault-password"
    done = subprocess.run([script], env={**os.environ, "VAULT_PASSWORD": "x y"}, capture_output=True, check=True)
    assert done.stdout == b"x y\n"


HCLOUD = """\
#!/bin/sh
echo "hcloud $*" >> "$CALLS"
case "$1 $2" in
"server ip") echo 192.0.2.7 ;;
"server list") echo "$THERE" ;;
esac
"""
# It answers once the host has booted, at the second call.
SSH = '#!/bin/sh\necho "ssh $*" >> "$CALLS"\n[ "$(grep -c ^ssh "$CALLS")" -gt 1 ]\n'


@pytest.fixture
def ephemeral(tmp_path):
    """Run ephemeral-host with stand-ins for the provider, SSH and the clock; return the commands that it called."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in {"hcloud": HCLOUD, "ssh": SSH, "sleep": "#!/bin/sh\n"}.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    calls = tmp_path / "calls"

    def run(*arguments: str, there: str = "") -> list[str]:
        calls.write_text("")
        given = {"PATH": f"{programs}:{os.environ['PATH']}", "CALLS": str(calls), "THERE": there}
        subprocess.run([EXAMPLES / "ci/ephemeral-host", *arguments], cwd=tmp_path, env=given, check=True)
        return calls.read_text().splitlines()

    return run


def test_a_host_comes_up_with_keys_of_its_own_and_an_inventory(ephemeral, tmp_path):
    created, _address, *asked = ephemeral("up", "suite-7")
    assert created.startswith("hcloud server create --name suite-7 ")
    assert asked == ["ssh -F ephemeral/ssh.cfg suite-7 cloud-init status --wait"] * 2
    folder = tmp_path / "ephemeral"
    hosts = yaml.safe_load((folder / "hosts.yml").read_text())["tfserving"]["hosts"]
    assert hosts == {"suite-7": {"ansible_host": "suite-7", "ansible_ssh_common_args": f"-F {folder}/ssh.cfg"}}
    assert "HostName 192.0.2.7\n" in (folder / "ssh.cfg").read_text()
    data = yaml.safe_load((folder / "user-data").read_text())
    assert data["ssh_keys"]["ed25519_private"] == (folder / "host").read_text()
    assert data["ssh_authorized_keys"] == [(folder / "login.pub").read_text().strip()]
    assert (folder / "known_hosts").read_text() == f"192.0.2.7 {(folder / 'host.pub').read_text()}"
    shown = subprocess.run(
        ["ssh", "-G", "-F", folder / "ssh.cfg", "suite-7"], capture_output=True, text=True, check=True
    ).stdout
    assert {"hostname 192.0.2.7", "user root", "stricthostkeychecking true"} <= set(shown.splitlines())
    assert (folder.stat().st_mode & 0o077, (folder / "user-data").stat().st_mode & 0o077) == (0, 0)


def test_a_host_goes_even_where_it_never_came_up(ephemeral, tmp_path):
    ephemeral("up", "suite-7")
    assert ephemeral("down", "suite-7", there="suite-70\nsuite-7")[1:] == ["hcloud server delete suite-7"]
    assert not (tmp_path / "ephemeral").exists()
    assert len(ephemeral("down", "suite-7", there="suite-70")) == 1
