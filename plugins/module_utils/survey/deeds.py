# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""How each kind of origin stops a server for good, and starts the same one again. None of them removes anything.

A deed is told by a mapping, which the record keeps: what has to be known to undo it, and nothing else.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Callable

from ..diagnosis.command import Ended
from ..errors import WishError
from ..host.sysfs import Tree
from ..visible_text import told
from . import containers, origins, processes, secrets, supervisor, systemd
from .inside import Inside

Act = Callable[[list[str]], Ended]
Deed = Mapping[str, Any]
_ENABLED = {"enabled": [], "enabled-runtime": ["--runtime"]}
# Policies by which Docker starts a container at boot, and Podman's service podman-restart.
_AT_BOOT = ("always", "unless-stopped")


def done(act: Act, arguments: list[str]) -> str:
    """Return what a program prints. Raises WishError if it fails."""
    ended = act(arguments)
    if ended is None:
        raise WishError("", f"{arguments[0]} is not installed", "")
    code, output, remarks = ended
    if code:
        words = secrets.text(" ".join((remarks or output).split()) or "no message", 300)
        raise WishError("", f"{' '.join(arguments[:3])} ended with code {code} ({words})", "")
    return output


# --- what is to be known beforehand ---


def of(asking: origins.Asking, server: processes.Server, origin: origins.Origin) -> dict[str, Any]:
    """Return the deed that stops a server, and what undoes it. Raises WishError where it could not be undone."""
    kind = origin.row["kind"]
    if kind == origins.SYSTEMD:
        return {"unit": _unit(asking, origin.unit)}
    if kind == origins.SUPERVISOR:
        return {"program": {"name": origin.program, "configuration": origin.configuration}}
    if kind == origins.BY_HAND:
        return {"process": process(asking.tree, server)}
    unit = _unit(asking, origin.unit) if origin.unit else None
    return {"container": _container(asking, origin, unit is not None), **({"unit": unit} if unit else {})}


def _unit(asking: origins.Asking, name: str) -> dict[str, Any]:
    state = systemd.show(asking.ask, [name]).get(name, {}).get("UnitFileState", "")
    return {"name": name, "enabled": state}


def _container(asking: origins.Asking, origin: origins.Origin, by_unit: bool) -> dict[str, Any]:
    shown = origin.row["container"]
    if shown["auto_remove"] and not by_unit:
        problem = (
            f"the container {shown['name']} removes itself as soon as it stops (--rm), and could not be started again"
        )
        raise WishError("name", problem, "start it without --rm first")
    count = origin.retries
    policy = shown["restart"] + (f":{count}" if shown["restart"] == "on-failure" and count else "")
    # Podman has it since 5.0.
    kept = policy != "no" and "--restart" not in (asking.ask([origin.runtime, "update", "--help"]) or "")
    found = {"runtime": origin.runtime, "id": origin.identity, "restart": policy}
    return {**found, "policy_kept": kept, "auto_remove": shown["auto_remove"]}


def process(tree: Tree, server: processes.Server) -> dict[str, Any]:
    """Return all that a process was started with, its variables included: what undoes the deed wants them."""
    inside = Inside(tree, server.pid)
    if not inside.is_host:
        problem = f"the process {server.pid} has a root of its own, and could not be started in it again"
        raise WishError("pid", problem, "stop it by hand")
    home = tree.path(f"proc/{server.pid}")
    status = dict(line.split(":", 1) for line in tree.lines(f"proc/{server.pid}/status") if ":" in line)
    return {
        "parent": _parent(tree, server.pid),
        "exe": os.readlink(f"{home}/exe").removesuffix(" (deleted)"),
        "argv": list(server.argv),
        "cwd": inside.cwd,
        "environment": processes.environment(tree, server.pid),
        "uid": int(status["Uid"].split()[1]),
        "gid": int(status["Gid"].split()[1]),
        "groups": [int(each) for each in status.get("Groups", "").split()],
        "umask": status.get("Umask", "0022").strip(),
        "cpus": status.get("Cpus_allowed_list", "").strip(),
        "nofile": processes.nofile(tree, server.pid),
        "output": [_file(f"{home}/fd/{number}") for number in (1, 2)],
    }


def _parent(tree: Tree, pid: int) -> str:
    """Return the name of the process that has started another; nothing if it has ended since."""
    above = next(processes.ancestors(tree, pid), 1)
    return "" if above == 1 else told(tree.text(f"proc/{above}/comm") or "", 40)


def _file(link: str) -> str | None:
    with suppress(OSError):
        path = os.readlink(link)
        return path if path.startswith("/") and os.path.isfile(path) else None
    return None


def at_boot(deed: Deed, origin: Mapping[str, Any]) -> bool:
    """Return whether a server is started at boot, before the deed."""
    program = (origin["supervisor"] or {}).get("autostart")
    unit = deed.get("unit", {}).get("enabled") in _ENABLED
    return bool(program or unit or deed.get("container", {}).get("restart") in _AT_BOOT)


def still_at_boot(deed: Deed, origin: Mapping[str, Any]) -> bool:
    """Return whether a server is started at boot even after the deed."""
    container = deed.get("container", {})
    kept = container.get("policy_kept") and container["restart"] in _AT_BOOT
    return bool(kept or (origin["supervisor"] or {}).get("autostart"))


def remains(deed: Deed, origin: Mapping[str, Any]) -> list[str]:
    """Return what would start a server in spite of the deed, a sentence each."""
    found = []
    state, container = deed.get("unit", {}).get("enabled", ""), origin["container"] or {}
    if state not in ("", "disabled", *_ENABLED):
        found.append(f"the unit {deed['unit']['name']} is {told(state, 40)}, so that whatever wants it starts it again")
    if deed.get("process", {}).get("parent"):
        found.append(f"{deed['process']['parent']} has started it, and may start it again")
    if container.get("compose"):
        found.append(f"docker compose up starts {origin['name']} again")
    if deed.get("container", {}).get("policy_kept"):
        policy = told(deed["container"]["restart"], 40)
        found.append(
            f"its restart policy stays {policy}, which this Podman cannot change: podman-restart.service starts it"
        )
    if (origin["supervisor"] or {}).get("autostart"):
        file = origin["supervisor"]["file"]
        found.append(f"supervisord starts it when it begins; write autostart=false in {file}")
    return found


def shown(deed: Deed) -> dict[str, Any]:
    """Return a deed without what only the record may hold: values of variables, and words that may be secret."""
    found = {name: dict(value) for name, value in deed.items()}
    if "process" in found:
        one = found["process"]
        one["argv"] = processes.Server(0, 0, tuple(one["argv"])).shown
        one["environment"] = sorted(pair.partition("=")[0] for pair in one["environment"])
    return found


# --- stopping ---


def stop(act: Act, deed: Deed, server: processes.Server, wait: Callable[[], bool]) -> None:
    """Stop a server, so that nothing starts it again as far as that can be had. Raises WishError."""
    if "unit" in deed:
        name, state = deed["unit"]["name"], deed["unit"]["enabled"]
        if state in _ENABLED:
            done(act, ["systemctl", "disable", *_ENABLED[state], name])
        done(act, ["systemctl", "stop", name])
    if "container" in deed:
        _stop_container(act, deed["container"], "unit" in deed)
    if "program" in deed:
        done(act, ["supervisorctl", "-c", deed["program"]["configuration"], "stop", deed["program"]["name"]])
    if "process" in deed:
        with suppress(ProcessLookupError):
            os.kill(server.pid, signal.SIGTERM)
    if not wait():
        problem = f"the process {server.pid} still runs after the time it was given to end"
        raise WishError("pid", problem, "look at its log")


def _stop_container(act: Act, container: Mapping[str, Any], by_unit: bool) -> None:
    runtime, identity = container["runtime"], container["id"]
    if container["auto_remove"]:
        # Its unit has stopped it, and it is gone with that; the unit makes a new one.
        return
    if container["restart"] != "no" and not container["policy_kept"]:
        done(act, [runtime, "update", "--restart=no", identity])
    if not by_unit or _runs(act, runtime, identity):
        done(act, [runtime, "stop", identity])


def _runs(act: Act, runtime: str, identity: str) -> bool:
    ended = act([runtime, "inspect", "--type", "container", "--format", "{{.State.Running}}", identity])
    return bool(ended) and ended[1].strip() == "true"  # type: ignore[index]  # None is no truth


# --- starting ---


def start(act: Act, deed: Deed) -> None:
    """Start what a deed has stopped, and have it started at boot as before. Raises WishError."""
    if "container" in deed and not deed["container"]["auto_remove"]:
        container = deed["container"]
        if container["restart"] != "no" and not container["policy_kept"]:
            done(act, [container["runtime"], "update", f"--restart={container['restart']}", container["id"]])
        if "unit" not in deed:
            done(act, [container["runtime"], "start", container["id"]])
    if "unit" in deed:
        state = deed["unit"]["enabled"]
        if state in _ENABLED:
            done(act, ["systemctl", "enable", *_ENABLED[state], deed["unit"]["name"]])
        done(act, ["systemctl", "start", deed["unit"]["name"]])
    if "program" in deed:
        done(act, ["supervisorctl", "-c", deed["program"]["configuration"], "start", deed["program"]["name"]])
    if "process" in deed:
        begin(deed["process"])


def begin(one: Mapping[str, Any]) -> None:
    """Start a process as it was started by hand, on its own, so that it outlives this one. Raises WishError."""
    outputs = [_opened(path) for path in one["output"]]

    def limits() -> None:
        os.umask(int(one["umask"], 8))
        if one["nofile"]:
            resource.setrlimit(resource.RLIMIT_NOFILE, tuple(one["nofile"]))
        with suppress(OSError, ValueError):
            # CPUs that are gone since leave all that there are.
            os.sched_setaffinity(0, processes.cpus(one["cpus"]))

    is_root = os.geteuid() == 0
    accounts = {"user": one["uid"], "group": one["gid"], "extra_groups": one["groups"]} if is_root else {}
    try:
        # Not run_command, which waits for its end.
        subprocess.Popen(  # pylint: disable=ansible-bad-function,subprocess-popen-preexec-fn,consider-using-with
            one["argv"],
            executable=one["exe"],
            cwd=one["cwd"],
            env=dict(pair.split("=", 1) for pair in one["environment"]),
            stdin=subprocess.DEVNULL,
            stdout=outputs[0],
            stderr=outputs[1],
            start_new_session=True,
            preexec_fn=limits,
            **accounts,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise WishError("", f"{told(one['exe'], 200)} cannot be started ({error})", "start it by hand") from error
    finally:
        for handle in outputs:
            if handle != subprocess.DEVNULL:
                os.close(handle)


def _opened(path: str | None) -> int:
    if path is None:
        return subprocess.DEVNULL
    try:
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
    except OSError:
        return subprocess.DEVNULL


def definition(asking: origins.Asking, kind: str, deed: Deed) -> str:
    """Return the checksum of what an origin is defined by now, whether it runs or not; empty for a process by hand."""
    if kind == origins.BY_HAND:
        return ""
    if "container" in deed and not deed["container"]["auto_remove"]:
        container = deed["container"]
        found = containers.definition(containers.inspect(asking.ask, container["runtime"], container["id"]))
    elif "unit" in deed:
        name = deed["unit"]["name"]
        found = systemd.definition(systemd.show(asking.ask, [name]).get(name, {}))
    else:
        supervisor.require_trusted(asking.tree, deed["program"]["configuration"])
        programs = supervisor.programs(asking.tree, deed["program"]["configuration"])
        program = supervisor.program_of(programs, deed["program"]["name"])
        found = supervisor.definition(program) if program else ""
    return origins.checksum(found)
