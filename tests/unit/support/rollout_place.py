# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Runs rollout.yml and rollback.yml as they are, but for what needs real hosts: roles, gates and the watch of calls.

These leave a line in a log instead. Records of plans and roll-outs are in a folder for each host, and are real.
"""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import yaml
from planner_cases import instance, model
from playbook_place import Place
from repository import REPOSITORY

PLAYBOOKS = REPOSITORY / "playbooks"
NESTED = ("block", "rescue", "always")
# Each an action, so that no process is started for it.
STAND_INS = {
    # For roles and gates. What a role leaves behind that later plays read is left behind.
    "stand_in": """
        given = self._task.args
        name, host = given["name"], task_vars["inventory_hostname"]
        with open(os.path.join(folder, "log"), "a") as log:
            log.write(f"{name} {host}\\n")
        if name == given["fails"] and host in given["failing"]:
            return {"failed": True, "msg": "no answer from ranker 8"}
        if name == "share 0":
            return {"changed_maps": {}}
        record = os.path.join(folder, host, "plan.json")
        if name == "host_plan/record":
            with open(record, "w") as file:
                json.dump(given["plan"], file)
        if name == "host_plan":
            with open(record) as file:
                before = json.load(file)
            planned = {"both": [7, 8], "new": [8], "old": [7]}[given["stages"]["ranker"]]
            return {"planned": plan(*planned), "before": before}
        return {}
""",
    # Goes through the steps until one for which the test has left a verdict.
    "rollout_watch": """
        given = self._task.args
        with open(os.path.join(folder, "verdicts.json")) as file:
            verdicts = json.load(file)
        state = states.from_json(given["state"])
        while state.stage == "share" and state.step <= given["last_step"]:
            verdict = verdicts.get(str(state.percent))
            if verdict and verdict != "fail":
                return {"state": states.hold(state, verdict, False).to_json()}
            if verdict:
                state = states.revert(state, "10 times as many errors", True, time.time())
            else:
                state = states.advance(state, time.time())
        return {"state": state.to_json()}
""",
    # Answers as the variable `answered` says.
    "golden_answers": """
        given, host = self._task.args, task_vars["inventory_hostname"]
        with open(os.path.join(folder, "log"), "a") as log:
            log.write(f"golden {host} {given['old']} {given['new']} {','.join(given['controls'])}\\n")
        said = self._templar.template(task_vars.get("answered", {})) if host in ("h1",) else {}
        return {"wrong": "", "unproven": "", "text": f"{given['model']} {given['new']}: asked", **said}
""",
    "rollout_state": """
        given, home = self._task.args, os.path.join(folder, task_vars["inventory_hostname"], "rollout")
        if "state" not in given:
            return {"states": rollout_record.states(given.get("models", []), home)}
        if task_vars["inventory_hostname"] in task_vars.get("full", []) and given["state"]["arms"]:
            return {"failed": True, "msg": "No space left on device"}
        counts, changed = rollout_record.write(given["state"], home, not self._task.check_mode)
        return {"states": {counts["model"]: counts}, "changed": changed}
""",
    # A host in the list "dead" of the test cannot be reached, and one in "slow" does not answer with the version yet.
    "rollout_return": """
        given, host = self._task.args, task_vars["inventory_hostname"]
        if host in task_vars.get("dead", []):
            raise AnsibleConnectionFailure("no route to host")
        decided = {key: int(value) for key, value in given["decided"].items()} if "decided" in given else None
        where = (given["reason"], float(given["at"]), os.path.join(folder, host, "rollout"))
        back = rollout_record.taking_back(given["model"], decided, *where, not self._task.check_mode)
        note = "share 0" if given.get("shares") else "return"
        with open(os.path.join(folder, "log"), "a") as log:
            log.write(f"{note} {host}\\n")
        slow = host in task_vars.get("slow", [])
        words = "model ranker version 7 is LOADING after 12 s" if slow else ""
        serves = back and boolean(given.get("serves", True)) and host != "edge"
        served = [{"name": "ranker", "answers": not slow, "words": words}] if serves else []
        state = back.state if back and not decided else None
        return {"old": back and back.old, "state": state, "instances": served, "changed": bool(back and back.changed)}
""",
    "plan_record": """
        with open(os.path.join(folder, task_vars["inventory_hostname"], "plan.json")) as file:
            return {"plan": json.load(file)}
""",
}
HEAD = """
import json, os, sys, time
from ansible.errors import AnsibleConnectionFailure
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible_collections.tfserving.fleet.plugins.module_utils.models import rollout_record
from ansible_collections.tfserving.fleet.plugins.plugin_utils.rollout import state as states

def plan(*versions):
    served = {"name": "ranker", "versions": list(versions), "serve": {"versions": list(versions)}}
    return {"schema": 1, "instances": [{"name": "ranker", "models": ["ranker"]}], "models": [served]}

class ActionModule(ActionBase):
    _requires_connection = False
    def run(self, tmp=None, task_vars=None):
        folder = task_vars["inventory_dir"]
        """


def plan(*versions: int) -> dict[str, Any]:
    """Return as much of a plan in force as a roll-out reads."""
    served = {"name": "ranker", "versions": list(versions), "serve": {"versions": list(versions)}}
    return {"schema": 1, "instances": [{"name": "ranker", "models": ["ranker"]}], "models": [served]}


class RolloutPlace(Place):
    """A folder with a fleet of two hosts and a gateway that serves version 7 of a model, and wishes 8."""

    hosts = ("h1", "h2")

    def __init__(self, folder: Path, **rollout: Any) -> None:
        super().__init__(folder)
        self.wish(**rollout)
        for host in (*self.hosts, "edge"):
            (folder / host / "rollout").mkdir(parents=True)
            served = plan(7) if host in self.hosts else {}
            (folder / host / "plan.json").write_text(json.dumps(served))
        (folder / "verdicts.json").write_text("{}")
        for kind in ("action_plugins", "library", "tasks"):
            (folder / kind).mkdir()
        for name, body in STAND_INS.items():
            (folder / f"action_plugins/{name}.py").write_text(HEAD + body.strip() + "\n")
            (folder / f"library/{name}.py").write_text("")
        for path in (*PLAYBOOKS.glob("tasks/rollout_*.yml"), PLAYBOOKS / "tasks/silence.yml"):
            self._keep(f"tasks/{path.name}", [stood_in(task) for task in yaml.safe_load(path.read_text())])
        for name in ("rollout.yml", "rollback.yml"):
            self._keep(name, self._plays(PLAYBOOKS / name))

    def copied(self, folder: Path) -> RolloutPlace:
        """Return the same in another folder, with all that has happened so far."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        other = copy.copy(self)
        other.folder = folder
        return other

    def wish(self, version: int = 8, **rollout: Any) -> None:
        """Keep an inventory that wishes a version."""
        groups = {"tfserving": {host: {} for host in self.hosts}, "tfserving_gateways": {"edge": {}}}
        models = [model(version=version, rollout={"steps": [5, 50, 100], **rollout})]
        self.inventory(groups, tfserving_models=models, tfserving_instances=[instance()])

    def verdicts(self, **by_percent: str) -> None:
        """Leave what the calls of a step show: ``p5="fail"``, or why a person has to decide."""
        (self.folder / "verdicts.json").write_text(json.dumps({key[1:]: said for key, said in by_percent.items()}))

    def roll(self, playbook: str = "rollout", *arguments: str) -> tuple[int, str]:
        """Run a playbook for the model; return its exit status and output."""
        (self.folder / "log").write_text("")
        return self.run(f"{playbook}.yml", "-e", "model=ranker", *arguments)

    def log(self) -> list[str]:
        """Return what the stand-ins have noted in the last run, such as ``tfserving h1``."""
        return (self.folder / "log").read_text().splitlines()

    def served(self) -> dict[str, list[int]]:
        """Return the versions that each host has recorded as in force."""
        plans = {host: json.loads((self.folder / host / "plan.json").read_text()) for host in self.hosts}
        return {host: found["models"][0]["versions"] for host, found in plans.items()}

    def states(self) -> dict[str, dict[str, Any]]:
        """Return the state that each host and gateway has recorded."""
        names = (*self.hosts, "edge")
        return {name: json.loads((self.folder / name / "rollout/ranker.json").read_text()) for name in names}

    def state(self) -> dict[str, Any]:
        """Return the state, which all have."""
        first, *others = self.states().values()
        assert all(other == first for other in others)
        return first

    def _keep(self, name: str, content: Any) -> None:
        (self.folder / name).write_text(yaml.safe_dump(content, sort_keys=False))

    def _plays(self, path: Path) -> list[dict[str, Any]]:
        found = []
        for play in yaml.safe_load(path.read_text()):
            imported = play.get("ansible.builtin.import_playbook", "")
            if imported.startswith("plays/rollout_"):
                found += self._plays(PLAYBOOKS / imported)
            elif not imported:
                found.append(play_stood_in(play))
        return found


def play_stood_in(play: dict[str, Any]) -> dict[str, Any]:
    """Return a play with stand-ins for its roles."""
    parts = ("pre_tasks", "roles", "tasks", "post_tasks")
    roles = [
        {"ansible.builtin.include_role": {"name": each["role"]}, "vars": each.get("vars", {})}
        for each in play.get("roles", [])
    ]
    tasks = [task for part in parts for task in (roles if part == "roles" else play.get(part, []))]
    kept = {key: value for key, value in play.items() if key not in parts}
    return {**kept, "tasks": [stood_in(task) for task in tasks]}


def stood_in(task: dict[str, Any]) -> dict[str, Any]:
    """Return a task with a stand-in for what needs a real host."""
    found = {key: [stood_in(each) for each in value] if key in NESTED else value for key, value in task.items()}
    for action in ("rollout_watch", "rollout_state", "rollout_return", "plan_record", "golden_answers"):
        if f"tfserving.fleet.{action}" in found:
            found[action] = found.pop(f"tfserving.fleet.{action}")
    for each in ("ansible.builtin.include_tasks", "ansible.builtin.import_tasks"):
        if each in found:
            found[each] = found[each].replace("../tasks/", "tasks/")
    role, gate = found.pop("ansible.builtin.include_role", None), found.pop("tfserving.fleet.gate", None)
    headroom = found.pop("tfserving.fleet.model_headroom", None)
    name = ""
    if role:
        part = role.get("tasks_from", "").removesuffix(".yml")
        name = role["name"].rpartition(".")[2] + (f"/{part}" if part else "")
    elif gate:
        name = f"gate {gate['state']}"
    elif headroom:
        name = "headroom now" if "rollout_plan" in headroom["plan"] else "headroom"
    if name:
        found["stand_in"] = {
            "name": name,
            "stages": "{{ host_plan_rollout | default({}) }}",
            "plan": "{{ tfserving_plan | default({}) }}",
            "fails": "{{ fails | default('') }}",
            "failing": "{{ failing | default([]) }}",
        }
    if name == "host_plan":
        # As the role does it: facts that a module returns would come second to those that the playbook sets.
        planned = {"tfserving_plan": "{{ planned.planned }}", "tfserving_previous_plan": "{{ planned.before }}"}
        call = {"stand_in": found.pop("stand_in"), "register": "planned"}
        found["block"] = [call, {"ansible.builtin.set_fact": planned}]
    return found
