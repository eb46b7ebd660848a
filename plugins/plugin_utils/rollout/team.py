# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a watch does on gateways and serving hosts: orders to the workers of one task, and what they answer.

Each worker runs modules on its own host. A host that fails, or does not answer in time, is named and waited for no
longer; a worker that is still busy with a look is not asked for another one.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, zip_longest
from typing import Any, Protocol

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.visible_text import told

from ..phrases import counted
from .conduct import Recorded
from .samples import ARMS
from .state import State

# Where the role gateway has its map of shares.
SHARES = "/etc/haproxy/tfserving/maps/shares.map"
PREFIX = "tfserving.fleet."
# In seconds, how long an answer is waited for. Modules take about one; over slow connections some more.
READ_S, SHARE_S, RECORD_S, GOLDEN_S = 15.0, 15.0, 15.0, 40.0
LONGEST = 300
# How long a worker waits for an order. The conductor looks every few seconds; its end is noticed sooner than this.
PATIENCE_S = 600.0

Call = Callable[[str, Mapping[str, Any]], Mapping[str, Any]]
"""(module, arguments) -> its result, on the worker's own host."""
Arms = Mapping[str, Sequence[str]]
"""The hosts of each arm."""


class Crew(Protocol):
    """The workers of the task (benchmark/crew.py)."""

    is_left: Callable[[], bool]

    def order(self, orders: Mapping[str, Any]) -> None:
        """Give each worker that is named its order."""

    def answers(self, names: Iterable[str], within_s: float) -> list[Any]:
        """Return what these workers have answered, in turn. Raises WishError for one that does not in time."""

    def orders(self, within_s: float) -> Iterator[Any]:
        """Yield the orders for this worker."""

    def answer(self, answer: Any) -> None:
        """Answer the last order."""


@dataclass(frozen=True)
class Post:
    """What a worker needs to know of its own host. Plain data of its task."""

    model: str
    is_gateway: bool = False
    servers: Mapping[str, int] = field(default_factory=dict)
    """The REST port of each instance that is to be looked at."""
    golden: Sequence[Mapping[str, Any]] = ()


def post(model: str, is_gateway: bool, plan: Mapping[str, Any]) -> Post:
    """Return what a worker needs to know, out of the plan of its host, which is empty where nothing serves."""
    try:
        servers = {
            each["name"]: int(each["ports"]["rest"]) for each in plan.get("instances", ()) if model in each["models"]
        }
        kept: Mapping[str, Any] = next((each for each in plan.get("models", ()) if each["name"] == model), {})
        golden = tuple((kept.get("golden") or {}).get("requests") or ())
    except (KeyError, TypeError, ValueError, AttributeError):
        raise WishError("plan", "is not the plan of a host", "give what the role host_plan has made") from None
    return Post(model, is_gateway, servers, golden)


def members(gateways: Sequence[str], arms: Arms, most: int) -> list[str]:
    """Return who takes part, the conductor first: all gateways, and as many hosts of both arms in turn as may run."""
    in_turn = chain.from_iterable(zip_longest(*(arms[arm] for arm in ARMS)))
    found = list(dict.fromkeys([*gateways, *filter(None, in_turn)]))
    # One host of each arm at least: a restart of the canary's says something only beside the control's.
    least = 1 + max(found.index(arms[arm][0]) for arm in ARMS if arms[arm])
    if max(least, len(gateways)) > most:
        raise WishError(
            "forks",
            f"is {most}, and {counted(len(gateways), 'gateway')} and a host of each arm have to be looked at together",
            f"run with --forks {max(least, len(gateways))}",
        )
    return found[:most]


def carried_out(order: Mapping[str, Any], post: Post, call: Call) -> dict[str, Any]:
    """Return the answer of a worker to an order; ``failed`` in it says in words what did not work."""
    try:
        return {key: value for part in _ORDERS[order["do"]](order, post, call) for key, value in part.items()}
    except WishError as error:
        return {"failed": told(error.problem, LONGEST)}


def _read(order: Mapping[str, Any], post: Post, call: Call) -> Iterator[dict[str, Any]]:
    if post.is_gateway:
        yield {"gateway": _done(call, "gateway_calls", {"model": post.model, "slow_ms": order["slow_ms"]})}
    if post.servers:
        yield {"servers": _done(call, "rollout_servers", {"instances": dict(post.servers)})["servers"]}


def _share(order: Mapping[str, Any], post: Post, call: Call) -> Iterator[dict[str, Any]]:
    yield {"map": _done(call, "gateway_state", {"maps": {SHARES: {post.model: str(order["permille"])}}})["changed"]}


def _record(order: Mapping[str, Any], post: Post, call: Call) -> Iterator[dict[str, Any]]:
    kept = _done(call, "rollout_state", {"state": order["state"]})["states"][post.model]
    yield {"is_written": kept == order["state"], "age": [kept["generation"], kept["revision"]]}


def _golden(order: Mapping[str, Any], post: Post, call: Call) -> Iterator[dict[str, Any]]:
    if post.servers and post.golden:
        places = [(order["place"] + each) % len(post.golden) for each in range(order["calls"])]
        portion = [post.golden[place] for place in dict.fromkeys(places)]
        wanted = {"instances": dict(post.servers), "model": post.model, "golden": portion}
        yield {"golden": _done(call, "rollout_servers", wanted)["golden"]}


_ORDERS = {"read": _read, "share": _share, "record": _record, "golden": _golden}


def _done(call: Call, module: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    result = call(PREFIX + module, arguments)
    if result.get("failed"):
        raise WishError("", str(result.get("msg") or "no reason was given"), "")
    return result


def follow(crew: Crew, carry_out: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> None:
    """Carry out the conductor's orders on this host until it dismisses its crew, or is gone."""
    for order in crew.orders(PATIENCE_S):
        crew.answer(carry_out(order))


class Team:
    """The conductor's view of all workers: the effects of a watch (conduct.Effects)."""

    def __init__(
        self,
        crew: Crew,
        me: str,
        workers: Sequence[str],
        gateways: Sequence[str],
        arms: Arms,
        carry_out: Callable[[Mapping[str, Any]], Mapping[str, Any]],
        tell: Callable[[str], None],
    ) -> None:
        self._crew, self._me, self._workers = crew, me, workers
        self._gateways, self._arms = gateways, arms
        self._carry_out, self.tell = carry_out, tell
        # Workers that have not answered their last order yet.
        self._late: set[str] = set()
        self._epoch = time.time() - time.monotonic()
        # Where in the golden requests the next ones begin.
        self._place = 0

    def now(self) -> float:
        """Return the time; it goes on evenly even if the clock is set meanwhile."""
        return self._epoch + time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait; raise WishError once the run has ended."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._require_run()
            time.sleep(min(left, 0.2))

    def read(self, edge_s: float | None) -> dict[str, Any]:
        """Return a reading of all gateways, and of the servers that are looked at."""
        order = {"do": "read", "slow_ms": round((edge_s or 0) * 1000, 6)}
        answers = self._asked(self._free(self._workers), order, READ_S)
        self._require_run()
        gateways = {name: _counted(answers.get(name, {})) for name in self._gateways}
        counted_by = {name: answer for name, answer in gateways.items() if answer}
        gaps = [f"gateway {name} {answer['gap']}" for name, answer in counted_by.items() if answer.get("gap")]
        behind = [name for name, answer in counted_by.items() if answer.get("behind")]
        return {
            "gateways": gateways,
            "servers": dict(self._servers(answers)),
            "broken": gaps,
            "notes": [f"gateway {name} logs faster than it can be read; its counts are late" for name in behind],
            "age": max((tuple(each["age"]) for each in counted_by.values() if each.get("age")), default=None),
        }

    def _servers(self, answers: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, Any]]:
        """Yield the servers of both arms, None for one without an answer.

        A host of the control that is down leaves the others to compare with, so it is left out while there are some.
        """
        for arm in ARMS:
            here = [host for host in self._arms[arm] if host in self._workers]
            found = {host: answers.get(host, {}).get("servers") for host in here}
            can_spare = arm == "control" and any(found.values())
            for host, servers in found.items():
                yield from ((f"{host}.{name}", _with_arm(answer, arm)) for name, answer in (servers or {}).items())
                if not servers and not can_spare:
                    yield host, None

    def share(self, permille: int) -> dict[str, str]:
        """Set the share on all gateways at the same time."""
        return self._failed(self._asked(self._gateways, {"do": "share", "permille": permille}, SHARE_S))

    def record(self, state: State) -> Recorded:
        """Write a state on the hosts of all workers at the same time."""
        # As hosts return it, to be compared with what they have.
        plain = json.loads(json.dumps(state.to_json()))
        answers = self._asked(self._workers, {"do": "record", "state": plain}, RECORD_S)
        written = sum(answer.get("is_written") is True for answer in answers.values())
        others = [answer["age"] for answer in answers.values() if answer.get("is_written") is False]
        newest = max(((age[0], age[1]) for age in others), default=None)
        return Recorded(written, len(self._workers), newest, self._failed(answers))

    def golden(self, calls: int) -> dict[str, tuple[int, int]]:
        """Send golden requests to the servers of both arms at the same time."""
        hosts = [name for name in self._workers if any(name in self._arms[arm] for arm in ARMS)]
        answers = self._asked(self._free(hosts), {"do": "golden", "calls": calls, "place": self._place}, GOLDEN_S)
        self._place += calls
        found = {}
        for arm in ARMS:
            pairs = [pair for host in self._arms[arm] for pair in answers.get(host, {}).get("golden", {}).values()]
            found[arm] = (sum(pair[0] for pair in pairs), sum(pair[1] for pair in pairs))
        return found

    def _asked(self, names: Sequence[str], order: Mapping[str, Any], within_s: float) -> dict[str, Mapping[str, Any]]:
        others = [name for name in names if name != self._me]
        # The others first: this worker's own host may take its time.
        self._crew.order(dict.fromkeys(others, order))
        until = time.monotonic() + within_s
        found = {self._me: self._carry_out(order)} if self._me in names else {}
        found.update({name: self._answer(name, until - time.monotonic(), within_s) for name in others})
        return found

    def _answer(self, name: str, left_s: float, within_s: float) -> Mapping[str, Any]:
        try:
            (answer,) = self._crew.answers([name], max(left_s, 0.0))
        except WishError:
            self._late.add(name)
            return {"failed": f"no answer within {within_s:.0f} s"}
        self._late.discard(name)
        return answer if isinstance(answer, Mapping) else {}

    def _free(self, names: Sequence[str]) -> list[str]:
        """Return those that have answered their last order, be it late."""
        for name in [name for name in names if name in self._late]:
            self._answer(name, 0.0, 0.0)
        return [name for name in names if name not in self._late]

    def _failed(self, answers: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
        return {name: str(answer["failed"]) for name, answer in answers.items() if "failed" in answer}

    def _require_run(self) -> None:
        if self._crew.is_left():
            raise WishError("", "the run of ansible-playbook has ended", "run it again, which goes on from here")


def _counted(answer: Mapping[str, Any]) -> Any:
    """Return what a gateway has counted, or why it has not, as samples.between takes it; None for no answer."""
    return answer.get("gateway") or {key: answer[key] for key in ("failed",) if key in answer} or None


def _with_arm(answer: Any, arm: str) -> dict[str, Any] | None:
    return {**answer, "arm": arm} if isinstance(answer, Mapping) else None
