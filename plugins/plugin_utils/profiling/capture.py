# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""One trace of an instance, taken while the load generator drives it, and the proof that the profiler is closed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.visible_text import told

from ..benchmark import mix, runner, team, tls
from ..benchmark.conduct import look
from ..benchmark.crew import Crew
from ..benchmark.load import Load
from ..benchmark.options import Options

Tell = Callable[[str], None]
# The only directory of an instance that outlives its process, and that its unit may write (CacheDirectory=).
ROOT = "/var/cache/tfserving/{instance}/profile"
# How the server names the file of a host.
SUFFIX = ".xplane.pb"
# Between the start of the load and that of the trace, beyond the warm-up: the generator's own start and connections.
LEAD_S = 5.0
# What the load lasts beyond the trace, so that the server is busy to the end of it.
TRAIL_S = 5.0
# A server without the profiler does not know the method (gRPC's UNIMPLEMENTED).
CLOSED = "UNIMPLEMENTED"
_LONGEST_WORDS = 300


def question(asked: Options, target: Mapping[str, Any], session: str, seconds: float, delay_s: float) -> dict[str, Any]:
    """Return what the load generator is asked for: a trace of so many seconds after a delay."""
    where = {name: target[name] for name in ("host", "grpc", "rest")}
    where["tls"] = tls.described(asked) if target["secured"] else None
    return {
        "target": where,
        "delay_s": delay_s,
        "duration_ms": round(seconds * 1000),
        "root": ROOT.format(instance=asked.instance),
        "session": session,
        "host": target["name"],
    }


def on_host(instance: str, session: str, host: str) -> str:
    """Return the path of a trace on the host that served: a colon in a name becomes an underscore."""
    return f"{ROOT.format(instance=instance)}/{session}/{host.replace(':', '_')}{SUFFIX}"


def kept(output: str, host: str, now: time.struct_time) -> str:
    """Return where the trace is kept on the controller: in the folders that xprof and TensorBoard look for."""
    run = time.strftime("%Y_%m_%d_%H_%M_%S", now)
    return os.path.abspath(Path(output).expanduser() / "plugins" / "profile" / run / f"{host}{SUFFIX}")


def capture(
    asked: Options, target: Mapping[str, Any], session: str, crew: Crew, place: runner.Place, tell: Tell,
    load_hosts: list[str],
) -> dict[str, Any]:  # fmt: skip
    """Drive the instance and take a trace meanwhile; return where the trace is and what the load saw.

    Raises WishError for a trace that the server refuses, cannot write, or calls empty.
    """
    together = team.Team(crew, place, load_hosts)
    seen = look(together, asked, target)
    requests = mix.requests(asked, target, seen[0]["metadata"])
    load = Load(asked, target, requests.bodies, together, [each["cores"] for each in seen], tell)
    delay_s = asked.warmup_s + LEAD_S
    asking = question(asked, target, session, asked.trace_s, delay_s)
    driven_s = LEAD_S + asked.trace_s + TRAIL_S
    begins = time.time() + delay_s
    with runner.beside(place, "trace", asking, delay_s + asked.trace_s) as awaited:
        judged = load.stage("trace", asked.rate or 0.0, driven_s, lambda: driven_s, is_part=True)
        answer = awaited()
    require_taken(answer, target["name"], asked.instance)
    return {
        "trace": on_host(asked.instance, session, target["name"]),
        "file": kept(asked.output, target["name"], time.localtime()),
        "answered": judged.entry["result"]["ok"],
        "window": [begins, begins + asked.trace_s],
    }


def require_taken(answer: Mapping[str, Any], host: str, instance: str) -> None:
    """Refuse an answer that is no trace with events."""
    status, words = told(str(answer.get("status")), 40), told(str(answer.get("words")), _LONGEST_WORDS)
    where = f"{instance} on {host}"
    if status == CLOSED:
        raise WishError("instance", f"{where} has no profiler ({words})", "see whether its release has the flag")
    if status != "OK":
        raise WishError("instance", f"{where} takes no trace: {status} ({words})", "look at its log, and run again")
    if answer.get("empty") is not False:
        raise WishError("instance", f"{where} took a trace without events", "give a higher rate, or more seconds")


def prove_closed(asked: Options, target: Mapping[str, Any], place: runner.Place) -> dict[str, Any]:
    """Ask for a trace of a millisecond, which must be refused as unknown; raise WishError otherwise."""
    answer = runner.ask(place, "trace", question(asked, target, "closed", 0.001, 0.0))
    if answer.get("status") != CLOSED:
        problem = (
            f"{asked.instance} on {target['name']} still answers the profiler ({told(str(answer.get('status')), 40)})"
        )
        raise WishError("instance", problem, "run site.yml, and look at flags.enable_profiler of its plan")
    return {"closed": True}
