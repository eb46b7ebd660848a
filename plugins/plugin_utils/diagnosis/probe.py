# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The client's side of a latency budget: a few calls by the load generator while the evidence of a host is read.

They are started before and fetched afterwards, and go to the instance itself and, where there is a gateway, through
that as well. What cannot be called costs the diagnosis nothing but a line that says why.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, median
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.load.histogram import Histogram
from ansible_collections.tfserving.fleet.plugins.module_utils.visible_text import told

from ..benchmark import conduct, mix, runner, stage, tls
from ..benchmark.options import Options, read
from ..benchmark.requests import carried
from ..benchmark.target import target
from ..gateway.frontends import DISTANCE
from ..gateway.settings import DEFAULTS

# Calls a second: 80 in a window of ten seconds give a mean, and are nothing beside the load of any server.
RATE = 8.0
# The generator gives up when nobody has asked after it for 20 s, and the evidence is asked for in one call.
LONGEST_S = 15.0
WARMUP_S = 1.0
# A call that takes longer is an outage, and is told by its status.
TIMEOUT_S = 5.0
# Instances of a host that are probed at a time. Each takes three processes of the load generator, 110 MB together.
MOST = 3
# What gRPC's libraries take unless told otherwise: the probe is to see what usual callers see.
REPLY_BYTES = 4 << 20
TLS = ("tls_ca", "tls_name", "tls_certificate", "tls_key", "tls_key_remote")
DIRECT, GATEWAY = "direct", "gateway"
SOURCE = "probe of {instance}"

Row = dict[str, Any]


@dataclass(frozen=True)
class Wanted:
    """A host whose instances are to be probed, by what the run knows of it.

    ``instances`` are all, where it is empty. ``given`` are variables of benchmark.yml: ``protocol`` and those of TLS.
    ``gateway`` is its address and settings, and ``through`` names the instances that are called through it as well.
    """

    host: str
    address: str
    plan: Mapping[str, Any]
    instances: Sequence[str]
    seconds: float
    given: Mapping[str, Any]
    gateway: Mapping[str, Any] | None = None
    through: Sequence[str] = ()


@dataclass(frozen=True)
class Running:
    """A probe that runs: the name of its stage, and what is known of it already."""

    stage: str
    instance: str
    via: str
    model: str
    protocol: str
    seconds: float


def started(place: runner.Place, wanted: Wanted) -> Row:
    """Start the probes of a host; return those that run, and why others do not."""
    running: list[Row] = []
    unread: list[Row] = []
    names = _names(wanted)
    for name in names[:MOST]:
        try:
            for each in _begun(place, wanted, name, unread):
                running.append(asdict(each))
        except WishError as error:
            unread.append(unprobed(name, str(error)))
    why = f"{MOST} instances of a host are probed at a time; name it with diagnosis_instances"
    return {"running": running, "unread": [*unread, *(unprobed(name, why) for name in names[MOST:])]}


def ended(place: runner.Place, running: Sequence[Mapping[str, Any]]) -> Row:
    """Wait for the probes of a host; return what they saw by instance, and why others saw nothing."""
    client: dict[str, Row] = {}
    unread: list[Row] = []
    for each in (Running(**row) for row in running):
        between = _between(place, each)
        try:
            found = figures(runner.end(place, each.stage, each.seconds), each, between)
        except (WishError, ValueError, LookupError) as error:
            unread.append(unprobed(each.instance, f"{_way(each.via)}: {error}"))
            continue
        if found["mean_ms"] is None:
            unread.append(unprobed(each.instance, f"{_way(each.via)}: no call was answered ({_told(found)})"))
        row = client.setdefault(each.instance, {})
        row.update(found if each.via == DIRECT else {GATEWAY: found})
    return {"client": client, "unread": unread}


def _between(place: runner.Place, probe: Running) -> Row:
    """Return what lies between, by the calls that asked nothing; nothing is known where those failed."""
    try:
        return runner.end(place, _beside(probe.stage), probe.seconds)
    except WishError:
        return {}


def _usual(found: Sequence[float]) -> float:
    """Return the mean without the slowest tenth: as a part of a mean it is one, and a stall of these is none of its."""
    return fmean(sorted(found)[: -(-len(found) * 9 // 10)])


def figures(result: Mapping[str, Any], probe: Running, between: Mapping[str, Any]) -> Row:
    """Return what a probe saw; no 99th percentile, which of 80 calls would be the slowest one."""
    seen = Histogram.from_json(result["histogram"])
    answered = seen.total > 0
    return {
        "via": probe.via,
        "entrypoint": probe.protocol.upper(),
        "model": probe.model,
        "calls": int(result["sent"]),
        "statuses": {"OK": result["ok"], **{told(name, 40): count for name, count in result["errors"].items()}},
        "mean_ms": seen.mean / 1000 if answered else None,
        "p50_ms": seen.quantile(0.5) / 1000 if answered else None,
        "p90_ms": seen.quantile(0.9) / 1000 if answered else None,
        "network_ms": median(between["connect_ms"]) if between.get("connect_ms") else None,
        "call_ms": _usual(between["call_ms"]) if between.get("call_ms") else None,
    }


def together(evidence: Mapping[str, Any], probes: Sequence[Mapping[str, Any]], why: str) -> Row:
    """Return evidence with what the probes of its host saw as ``client``, and with why others saw nothing.

    :param probes: the results of the tasks that started and fetched them; ``why`` is why none was started.
    """
    rows = [row for each in probes for row in each.get("unread") or ()]
    failed = next((str(each["msg"]) for each in probes if each.get("msg")), why)
    if failed and evidence.get("plan"):
        rows.append({"source": "probe", "why": told(failed, 500)})
    client: Mapping[str, Any] = next((each["client"] for each in probes if each.get("client")), {})
    return {**evidence, "client": client, "unread": [*(evidence.get("unread") or ()), *rows]}


def unprobed(instance: str, why: str) -> Row:
    """Return the line of an instance that could not be probed, as evidence has those of what could not be read."""
    return {"source": SOURCE.format(instance=instance), "why": told(why, 500)}


def _names(wanted: Wanted) -> list[str]:
    planned = [str(each["name"]) for each in wanted.plan.get("instances") or ()]
    return [name for name in planned if not wanted.instances or name in wanted.instances]


def _begun(place: runner.Place, wanted: Wanted, name: str, unread: list[Row]) -> Iterator[Running]:
    """Start the probe of an instance, and that through the gateway beside it; a gateway in trouble costs only its own.

    :raises WishError: the instance cannot be called.
    """
    asked = asked_for(name, wanted)
    where = target(
        {**asdict(asked), "instance": name}, wanted.plan, [{"name": name, "problem": ""}], {}, wanted.address,
        wanted.host,
    )  # fmt: skip
    seen = conduct.look(_Alone(place), asked, where)[0]
    requests = mix.requests(asked, where, seen["metadata"]).bodies
    yield _begin(place, asked, where, requests, DIRECT)
    if wanted.gateway and name in wanted.through:
        try:
            yield _begin(place, asked, through(where, wanted.gateway), requests, GATEWAY)
        except WishError as error:
            unread.append(unprobed(name, f"{_way(GATEWAY)}: {error}"))


def asked_for(name: str, wanted: Wanted) -> Options:
    """Return the options of a probe: one rate for a short time. Raises WishError."""
    protocol = wanted.given.get("protocol") or "grpc"
    secured = {each: wanted.given[each] for each in TLS if protocol == "grpc" and wanted.given.get(each)}
    seconds = min(wanted.seconds, LONGEST_S)
    fixed = {"rate": RATE, "duration": seconds, "warmup": WARMUP_S, "timeout": TIMEOUT_S, "connections": 1}
    # Nobody judges the objective here; a plan of release 0.1.0 has none.
    return read({"instance": name, "protocol": protocol, "processes": 1, "slo": 1000, **fixed, **secured})


def through(direct: Mapping[str, Any], gateway: Mapping[str, Any]) -> Row:
    """Return the same target behind a gateway, by its address and its settings (``gateway_*``)."""
    settings = {**DEFAULTS, **{name: value for name, value in gateway.items() if value is not None}}
    port = settings["gateway_grpc_ports"].get(direct["instance"]) or direct["grpc"] + DISTANCE
    place = {"host": gateway["address"], "grpc": int(port), "rest": int(settings["gateway_rest_port"])}
    return {**direct, **place, "secured": bool(settings["gateway_tls_certificate"])}


def _begin(place: runner.Place, asked: Options, where: Mapping[str, Any], requests: Sequence[Any], via: str) -> Running:
    aim = {name: where[name] for name in ("host", "grpc", "rest")}
    secured = tls.described(asked) if where["secured"] else None
    seconds = asked.duration_s or LONGEST_S
    sent = carried(requests, asked.protocol)
    goal = {**aim, "metrics": None, "tls": secured, "reply_bytes": REPLY_BYTES}
    name = f"{asked.instance}-{via}"
    between = {"target": goal, "protocol": asked.protocol, "model": where["model"]}
    pace = {"calls": round(seconds * RATE), "pause_s": 1 / RATE}
    runner.begin(place, _beside(name), {**between, **pace}, "network")
    runner.begin(place, name, stage.specs(asked, goal, sent, RATE, seconds, [1], asked.seed)[0])
    return Running(name, asked.instance, via, where["model"], asked.protocol, WARMUP_S + seconds)


def _beside(stage_name: str) -> str:
    """Return the name of the calls that ask nothing beside a stage."""
    return f"{stage_name}-network"


class _Alone:
    """One load host that answers questions."""

    def __init__(self, place: runner.Place) -> None:
        self._place, self.names = place, [place.name]

    def ask(self, subject: str, question: Mapping[str, Any]) -> list[Row]:
        """Return its answer."""
        return [runner.ask(self._place, subject, question)]


def _way(via: str) -> str:
    return "through the gateway" if via == GATEWAY else "directly"


def _told(found: Row) -> str:
    failed = {name: count for name, count in found["statuses"].items() if name != "OK"}
    return ", ".join(f"{count} {name}" for name, count in failed.items()) or "none was sent"
