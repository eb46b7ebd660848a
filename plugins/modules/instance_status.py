#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Reads what the instances of a host really are: process, CPUs, memory, models, latency."""

from __future__ import annotations

DOCUMENTATION = r"""
module: instance_status
short_description: Read what the instances of a host really are
version_added: 0.1.0
description:
  - Reads systemd, C(/proc) and the server itself, and compares what it finds with the plan.
  - Never fails because an instance is down. What is not as it should be stands in C(problem).
  - Changes nothing. A model that answers predictions is asked for a few of them.
options:
  probe_count:
    description:
      - How many predictions to time for each model, after one that does not count. V(0) asks for none.
    type: int
    default: 5
extends_documentation_fragment:
  - tfserving.fleet.serving_plan
attributes:
  check_mode:
    support: full
    description: Reads in check mode as well.
  diff_mode:
    support: none
    description: There is nothing to compare.
seealso:
  - module: tfserving.fleet.model_status
author:
  - tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Read the state of the instances
  tfserving.fleet.instance_status:
    instances: "{{ tfserving_plan.instances }}"
    models: "{{ tfserving_plan.models }}"
  register: status

- name: Show what is not as it should be
  ansible.builtin.debug:
    msg: "{{ status.instances | selectattr('problem') | items2dict(key_name='name', value_name='problem') }}"
"""

RETURN = r"""
instances:
  description: One entry per instance, in the order of the plan. Fields of a process are left out where none runs.
  returned: always
  type: list
  elements: dict
  contains:
    name: {description: The instance., type: str}
    unit: {description: Its unit., type: str}
    state: {description: The unit's state and sub-state as systemd names them., type: str, sample: active (running)}
    restarts: {description: How often systemd started it again by itself., type: int}
    ports: {description: The ports of the plan., type: dict, sample: {grpc: 8500, rest: 8501}}
    pid: {description: The main process; 0 without one., type: int}
    started_at: {description: When the process started (ISO 8601 in UTC)., type: str, sample: "2026-01-31T12:00:00Z"}
    version: {description: The version that the unit's binary reports., type: str, sample: 2.19.1}
    cpus: {description: CPUs that the main process may use., type: str, sample: 2-9}
    cpus_agree: {description: Whether every thread may use exactly these., type: bool}
    nodes: {description: NUMA nodes whose memory it may use., type: str, sample: "0"}
    allocator:
      description: The allocator that is really mapped, V(jemalloc), V(tcmalloc), V(mimalloc), V(glibc) or V(unknown).
      type: str
    malloc_conf: {description: C(MALLOC_CONF) of the running process., type: str}
    rss_mb: {description: Resident memory in MiB., type: int}
    threads: {description: Number of threads., type: int}
    models:
      description:
        - Per model its C(name), C(versions) and, where it was asked, C(probe) with the fastest (C(latency_ms)) and the
          median (C(median_ms)) time of a prediction in milliseconds.
      type: list
      elements: dict
    problem: {description: What is not as it should be; empty when all is well., type: str}
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tfserving.fleet.plugins.module_utils import cpu_list
from ansible_collections.tfserving.fleet.plugins.module_utils.host import process as process_facts
from ansible_collections.tfserving.fleet.plugins.module_utils.host import run
from ansible_collections.tfserving.fleet.plugins.module_utils.serving import check as serving_check
from ansible_collections.tfserving.fleet.plugins.module_utils.serving.client import Client, UnreachableError


class Inspector:
    """Reads instances one after another; a binary that several share is asked for its version once."""

    def __init__(
        self, run: run.Run, unit_template: str, model_root: str, probe_count: int,
        models: Sequence[Mapping[str, Any]] = (), proc: Path = process_facts.PROC,
    ) -> None:  # fmt: skip
        self.run = run
        self.unit_template = unit_template
        self.model_root = model_root
        self.probe_count = probe_count
        self.models = models
        self.proc = proc
        self._versions: dict[tuple[str, str], str] = {}

    def inspect(self, instance: Mapping[str, Any]) -> dict[str, Any]:
        """Return everything about one instance; what is wrong with it is in ``problem``."""
        facts: dict[str, Any] = {
            "name": instance["name"],
            "unit": self.unit_template.replace("{name}", instance["name"]),
            "ports": dict(instance.get("ports", {})),
            "state": "unknown",
            "models": [],
        }
        try:
            unit = process_facts.unit(self.run, facts["unit"])
        except RuntimeError as error:
            return facts | {"problem": str(error)}
        facts |= {
            "state": f"{unit.active} ({unit.sub})",
            "restarts": unit.restarts,
            "pid": unit.pid,
            "version": self._version(unit),
        }
        if unit.dead or not unit.pid:
            return facts | {"problem": unit.verdict}
        problems = self._process(instance, unit, facts)
        hidden = self._hidden(facts["ports"].get("rest"), unit)
        problems += [hidden] if hidden else self._models(instance, facts)
        return facts | {"problem": "; ".join(problems)}

    def _hidden(self, port: int | None, unit: process_facts.Unit) -> str:
        """Return why the models of a running server cannot be seen, or an empty text."""
        if not port:
            return "REST is off, so that the state of its models cannot be seen"
        stranger = process_facts.stranger_on_port(port, unit, self.proc)
        return f"port {port} is answered by {stranger}" if stranger else ""

    def _version(self, unit: process_facts.Unit) -> str:
        key = (unit.root, unit.binary)
        if key not in self._versions:
            self._versions[key] = process_facts.server_version(self.run, unit)
        return self._versions[key]

    def _process(self, instance: Mapping[str, Any], unit: process_facts.Unit, facts: dict[str, Any]) -> list[str]:
        process = process_facts.process(unit.pid, self.proc)
        if process is None:
            return [f"the process {unit.pid} is gone"]
        facts |= {
            "started_at": process.started_at,
            "cpus": process.cpus,
            "cpus_agree": len(process.cpus_of_threads) <= 1,
            "nodes": process.nodes,
            "allocator": process.allocator,
            "malloc_conf": process.malloc_conf,
            "rss_mb": process.rss_mb,
            "threads": process.threads,
        }
        return process_problems(instance, process)

    def _models(self, instance: Mapping[str, Any], facts: dict[str, Any]) -> list[str]:
        client, problems = Client(instance["ports"]["rest"]), []
        try:
            for expected in serving_check.expectations(instance, self.models, self.model_root):
                versions, wrong = serving_check.survey(client, expected)
                absence = serving_check.absence(expected)
                entry = {"name": expected.model, "versions": serving_check.states(versions)}
                facts["models"].append(entry)
                misfit = "" if wrong else serving_check.misfit(client, expected)
                problems += [absence] if absence else [*wrong, *filter(None, [misfit])]
                if not wrong and expected.asked and self.probe_count:
                    answer = serving_check.probe(client, expected, self.probe_count)
                    entry["probe"] = answer.report()
                    if answer.ok is False:
                        problems.append(f"model {expected.model} fails its prediction: {answer.note}")
        except UnreachableError as error:
            problems.append(str(error))
        return problems


def process_problems(instance: Mapping[str, Any], process: process_facts.Process) -> list[str]:
    """Return where a running process departs from its entry of the plan."""
    problems = []
    if len(process.cpus_of_threads) > 1:
        problems.append(f"its threads disagree about their CPUs ({' and '.join(process.cpus_of_threads)})")
    planned = instance.get("cpus")
    if planned and cpu_list.parse(planned) != cpu_list.parse(process.cpus):
        problems.append(f"it runs on the CPUs {process.cpus}, planned are {planned}")
    problems += process_facts.allocator_problems(instance, process)
    if process.replaced:
        problems.append("its binary was replaced since it started; restart it")
    return problems


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "instances": {"type": "list", "elements": "dict", "required": True},
            "models": {"type": "list", "elements": "dict", "default": []},
            "model_root": {"type": "path", "default": "/var/lib/tfserving/models"},
            "unit_template": {"type": "str", "default": "tfserving@{name}.service"},
            "probe_count": {"type": "int", "default": 5},
        },
        supports_check_mode=True,
    )
    wishes = module.params
    inspector = Inspector(
        process_facts.runner(module),
        wishes["unit_template"],
        wishes["model_root"],
        max(wishes["probe_count"], 0),
        wishes["models"],
    )
    module.exit_json(changed=False, instances=[inspector.inspect(entry) for entry in wishes["instances"]])


if __name__ == "__main__":
    main()
