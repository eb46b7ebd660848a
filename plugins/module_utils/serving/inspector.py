# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The actual state of a host's instances, from systemd, /proc and the servers, compared with the plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import cpu_list
from ..host import process as process_facts
from ..host import run
from . import check as serving_check
from .client import Client, UnreachableError


class Inspector:
    """Inspects instances one after another; a binary shared by several is asked for its version once."""

    def __init__(
        self, run: run.Run, unit_template: str, model_root: str, probe_count: int,
        models: Sequence[Mapping[str, Any]] = (), gates: Mapping[str, str] | None = None,
        proc: Path = process_facts.PROC,
    ) -> None:  # fmt: skip
        self.run = run
        self.unit_template = unit_template
        self.model_root = model_root
        self.probe_count = probe_count
        self.models = models
        self.gates = gates or {}
        self.proc = proc
        self._versions: dict[tuple[str, str], str] = {}

    def inspect(self, instance: Mapping[str, Any]) -> dict[str, Any]:
        """Return everything about one instance; ``problem`` tells what is wrong with it."""
        facts: dict[str, Any] = {
            "name": instance["name"],
            "unit": self.unit_template.replace("{name}", instance["name"]),
            "ports": dict(instance.get("ports", {})),
            "state": "unknown",
            "models": [],
        }
        if instance["name"] in self.gates:
            facts["gate"] = self.gates[instance["name"]]
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
                entry: dict[str, Any] = {"name": expected.model, "versions": serving_check.states(versions)}
                facts["models"].append(entry)
                misfit = "" if wrong else serving_check.misfit(client, expected)
                problems += [absence] if absence else [*wrong, *filter(None, [misfit])]
                if not wrong and expected.is_asked and self.probe_count:
                    answer = serving_check.probe(client, expected, self.probe_count)
                    entry["probe"] = answer.report()
                    if answer.ok is False:
                        problems.append(f"model {expected.model} fails its prediction: {answer.note}")
        except UnreachableError as error:
            problems.append(str(error))
        return problems


def process_problems(instance: Mapping[str, Any], process: process_facts.Process) -> list[str]:
    """Return where a running process differs from its entry in the plan."""
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
