# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The speed of a candidate: the drained instance serves it and the original in turns, under the same load."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError

from ..benchmark import conduct as benchmark
from ..benchmark import mix, runner, team
from ..benchmark.crew import PATIENCE_S, Crew
from ..benchmark.load import Load
from ..benchmark.options import Options as Asked
from ..measure import turns
from ..measure.interleave import LEAST_S, Side
from ..server import flags, textproto
from ..tuning import on_host
from .speed import rows
from .verdicts import Row

# Of what one call after another would make: a call then waits for no other, and its time is that of the model.
IDLE = 0.3
MOST_RATE = 200.0
# A start of a large model, and the call itself.
CALL_S = PATIENCE_S + 3600.0
# Sides in sentences.
NAMES = ("the candidate", "the original")


@dataclass(frozen=True)
class Call:
    """What is measured: an instance, and the candidate's base path and flags on its host."""

    asked: Asked
    target: Mapping[str, Any]
    plan: Mapping[str, Any]
    model: str
    base_path: str
    flags: Mapping[str, Any]
    owner: str
    load_hosts: Sequence[str]
    tell: Callable[[str], None]


@dataclass
class Starts:
    """What the starts of one side took."""

    load_s: list[float] = field(default_factory=list)
    memory_mb: list[float] = field(default_factory=list)


def arguments(call: Call, side: Side, expires_s: int) -> dict[str, Any]:
    """Return the module's arguments for a side: the plan's own settings, or those with the candidate and its flags.

    Both are trials, so that both are started and watched alike.
    """
    plan, version = call.plan, call.plan["server"]["version"]
    changed, files = dict(plan["flags"]), {}
    if side == "b":
        folder = on_host.FOLDER.format(instance=plan["name"])
        changed |= {**call.flags, "model_config_file": f"{folder}/{on_host.MODELS}"}
        files[on_host.MODELS] = textproto.render(
            models(call), "ModelServerConfig", version=version, allow_unsurveyed=True
        )
    return {
        "instance": plan["name"],
        "state": "present",
        "owner": call.owner,
        "arguments": flags.arguments(changed, version, allow_unsurveyed=True),
        "files": files,
        "expires_s": expires_s,
    }


def models(call: Call) -> dict[str, Any]:
    """Return the models of the instance, with the candidate's base path in place of the original's."""
    configs = [
        {**each, "base_path": call.base_path} if each["name"] == call.model else dict(each)
        for each in call.plan["model_config"]["model_config_list"]["config"]
    ]
    return {"model_config_list": {"config": configs}}


class Turns:
    """Puts sides in force and sends load, block by block."""

    def __init__(self, call: Call, crew: Crew, load: Load) -> None:
        self._call, self._crew, self._load = call, crew, load
        self._in_force: Side | None = None
        self.starts: dict[Side, Starts] = {"a": Starts(), "b": Starts()}

    def put(self, side: Side, block_s: float) -> None:
        """Put a side in force. Raises WishError if it does not come to serve."""
        expires_s = on_host.expires_s(block_s + self._call.asked.warmup_s + self._call.asked.timeout_s)
        wanted = arguments(self._call, side, expires_s)
        found = self._order(wanted)
        if found.get("failed"):
            raise WishError("", f"{NAMES[side == 'a']} does not serve: {str(found.get('msg'))[:500]}", "")
        if side != self._in_force:
            self.starts[side].load_s.append(float(found.get("waited_s") or 0.0))
            self.starts[side].memory_mb.append(float((found.get("memory") or {}).get("rss_mb") or 0.0))
            self._in_force = side

    def restore(self) -> bool:
        """Bring the plan's settings back; return whether they serve."""
        return not self._order(on_host.absent(self._call.plan["name"], self._call.owner)).get("failed")

    def _order(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        name = self._call.target["name"]
        self._crew.order({name: {"module": on_host.MODULE, "arguments": arguments}})
        answer: dict[str, Any] = self._crew.answers([name], CALL_S)[0]
        return answer

    def measured(self, rate: float) -> list[tuple[Side, Mapping[str, Any]]]:
        """Return the judged blocks of both sides, in the order in which they were measured."""
        asked, found = self._call.asked, list[tuple[Side, Mapping[str, Any]]]()
        plan = turns.turns(int(asked.duration_s or LEAST_S), asked.seed)
        waiting = list(plan)
        while waiting:
            turn = waiting.pop(0)
            self.put(turn.side, turn.seconds)
            left_s = turn.seconds + sum(each.seconds for each in waiting)
            name = f"{NAMES[turn.side == 'a']}, {turn.number}"
            found.append((turn.side, self._block(name, rate, turn.seconds, left_s)))
            waiting = waiting or turns.spare(plan, found)
        return found

    def _block(self, name: str, rate: float, block_s: float, left_s: float) -> Mapping[str, Any]:
        return self._load.stage(name, rate, block_s, lambda: left_s, is_part=True).entry


def conduct(call: Call, crew: Crew, place: runner.Place) -> dict[str, Any]:
    """Return the rows of the speed, and the comparison. The plan's settings are back however it ends."""
    together = team.Team(crew, place, call.load_hosts)
    seen = benchmark.look(together, call.asked, call.target)
    sent = mix.requests(call.asked, call.target, seen[0]["metadata"])
    load = Load(call.asked, call.target, sent.bodies, together, [each["cores"] for each in seen], call.tell)
    host = Turns(call, crew, load)
    try:
        host.put("a", LEAST_S)
        rate = call.asked.rate or min(MOST_RATE, max(1.0, IDLE / load.first_latency_s()))
        blocks = host.measured(rate)
    finally:
        call.tell("  bringing the plan's settings back")
        restored = host.restore()
    return {**result(blocks, host.starts), "rate": rate, "restored": restored}


def result(blocks: Sequence[tuple[Side, Mapping[str, Any]]], starts: Mapping[Side, Starts]) -> dict[str, Any]:
    """Return the rows and the comparison of measured blocks: of the candidate (b) over the original (a)."""
    why = turns.too_few(blocks)
    other: list[tuple[Side, Mapping[str, Any]]] = [("a" if side == "b" else "b", stage) for side, stage in blocks]
    found: dict[str, Any] = {"verdict": "not comparable", "reason": why}
    if not why:
        found = turns.compared(other, NAMES).to_json()
    judged: list[Row] = rows(found, vars(starts["a"]), vars(starts["b"]))
    return {"rows": [row.to_json() for row in judged], "comparison": found}
