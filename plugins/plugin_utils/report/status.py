# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The status table of a fleet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.visible_text import visible

from ..caller import Caller

COLUMNS = ("host", "instance", "server", "model", "version", "CPUs", "allocator", "memory", "prediction", "latency")
NOTHING = "-"
# The beginning of an answer is enough, and the table has to fit a terminal.
ANSWER_CHARS = 30


def status_table(hosts: Mapping[str, Mapping[str, Any]], missing: Sequence[str], caller: Caller) -> str:
    """Return the table of ``hosts`` (host name -> result of instance_status), with problems and next steps.

    ``missing`` hosts, which failed or were not reached, have empty rows.
    """
    rows = [row for host, result in hosts.items() for row in _host_rows(host, result)]
    rows += [_empty_row(host) for host in missing]
    problems = [line for host, result in hosts.items() for line in _problems(host, result, caller)]
    blocks = ["\n".join(_aligned([COLUMNS, *rows]))]
    closed = [line for host, result in hosts.items() for line in _closed(host, result)]
    blocks += ["No traffic:\n" + "\n".join(f"  {visible(line)}" for line in closed)] if closed else []
    blocks += ["Problems:\n" + "\n".join(f"  {visible(line)}" for line in problems)] if problems else []
    blocks += [f"No answer, see the messages above:\n  {visible(', '.join(missing))}"] if missing else []
    return "\n\n".join([*blocks, "\n".join(["Next:", *_next_steps(caller)])])


def _next_steps(caller: Caller) -> Iterator[str]:
    command = "ansible-playbook -i INVENTORY"
    steps = (
        (f"{command} {caller.playbook('site')} --check --diff", "what a change would do"),
        (f"{command} {caller.playbook('status')}", "this table again"),
        (caller.page("wishes"), "what an inventory can say"),
    )
    width = max(len(step) for step, _why in steps)
    return (f"  {step:<{width}}    {why}" for step, why in steps)


def _host_rows(host: str, result: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    instances = result.get("instances", [])
    if not instances:
        yield _empty_row(host)
    for instance in instances:
        for model in instance.get("models") or [{}]:
            yield _row(host, instance, model)


def _empty_row(host: str) -> tuple[str, ...]:
    return (host, *[NOTHING] * (len(COLUMNS) - 1))


def _row(host: str, instance: Mapping[str, Any], model: Mapping[str, Any]) -> tuple[str, ...]:
    probe = model.get("probe") or {}
    memory = f"{instance['rss_mb']} MiB" if instance.get("rss_mb") else NOTHING
    latency = f"{probe['median_ms']:.1f} ms" if probe.get("median_ms") is not None else NOTHING
    return (
        host,
        instance["name"],
        instance.get("version") or NOTHING,
        model.get("name", NOTHING),
        _served(model),
        instance.get("cpus") or NOTHING,
        instance.get("allocator") or NOTHING,
        memory,
        _answer(probe),
        latency,
    )


def _served(model: Mapping[str, Any]) -> str:
    serving = [str(version["version"]) for version in model.get("versions", []) if version["state"] == "AVAILABLE"]
    return ", ".join(serving) or NOTHING


def _answer(probe: Mapping[str, Any]) -> str:
    if not probe:
        return NOTHING
    if probe.get("ok") is None:
        return "not asked"
    if probe["ok"] is False:
        return "FAILED"
    answer: str = probe.get("answer", "")
    return answer if len(answer) <= ANSWER_CHARS else answer[: ANSWER_CHARS - 1] + "…"


def _closed(host: str, result: Mapping[str, Any]) -> Iterator[str]:
    for instance in result.get("instances", []):
        if instance.get("gate"):
            yield f"{host} {instance['name']}: {instance['gate']}"


def _problems(host: str, result: Mapping[str, Any], caller: Caller) -> Iterator[str]:
    if result.get("failed") or result.get("unreachable"):
        yield f"{host}: {result.get('msg', 'cannot be reached')}"
    elif not result.get("instances"):
        yield f"{host}: no plan is in force; run {caller.playbook('site')}"
    for instance in result.get("instances", []):
        if instance.get("problem"):
            yield f"{host} {instance['name']}: {instance['problem']}"


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    # Answers, states and messages come from models and servers, and must not forge a row.
    rows = [[visible(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for number, row in enumerate(rows):
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
        if number == 0:
            yield "  ".join("─" * width for width in widths)
