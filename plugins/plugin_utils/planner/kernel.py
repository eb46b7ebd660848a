# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Kernel settings of a serving host, each with its reason and public source.

Pure: the host's topology and the user's overrides in, plain data out. planner/sysctls.py holds the sysctl settings;
kernel/settings.py (module_utils) applies them all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils import scalars
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError, described, nearest
from ansible_collections.tfserving.fleet.plugins.module_utils.topology.schema import Topology

from . import sysctls as kernel_sysctls
from .machine import shares_kernel
from .schema import Kernel, KernelModule, Sysctl, Sysfs
from .sysctls import Setting

HUGE_PAGES = f"{kernel_sysctls.DOCS}/admin-guide/mm/transhuge.html"
CPU_FREQUENCY = f"{kernel_sysctls.DOCS}/admin-guide/pm/cpufreq.html"
CPU_IDLE = f"{kernel_sysctls.DOCS}/admin-guide/pm/cpuidle.html"

THP_CHOICES = ("madvise", "always", "never")
KEEP = "keep"

# The role's templates for one kind of setting each.
MODULE_FILES = "etc/modules-load.d/*"
SYSFS_FILES = "etc/tmpfiles.d/*"
LATE_FILES = "etc/systemd/**"

OVERRIDES = ("sysctl", "modules", "thp", "governor", "energy_preference", "cpu_latency_us")

# Dots between the parts, or slashes if a part itself contains dots (net/ipv4/conf/eth0.100/rp_filter). A leading dash
# would make systemd-sysctl ignore failures.
_NAME = re.compile(r"\w[\w:@-]*(?:(?:\.[\w:@-]+)+|(?:/[\w:@.-]+)+)", re.ASCII)
_LONGEST_NAME = 255
_MODULE = re.compile(r"\w[\w-]{0,55}", re.ASCII)
# The kernel's limit for the name of a congestion control (TCP_CA_NAME_MAX).
_CONTROL = re.compile(r"\w[\w-]{0,14}", re.ASCII)
CONTROL = "net.ipv4.tcp_congestion_control"


def settings(
    topology: Topology, overrides: Mapping[str, Any] | None, pinned: bool, ports: Iterable[int] = ()
) -> Kernel:
    """Return the kernel settings of one host as plain data.

    :param topology: the module host_topology's ``topology``.
    :param overrides: the user's own settings, by the part of the variable's name after ``kernel_tuning_``: ``sysctl``
        (name to value, None leaves a key alone), ``modules`` (names), ``thp``, ``governor``, ``energy_preference``,
        ``cpu_latency_us``. A missing key or None stands for the plan's own choice.
    :param pinned: whether serving has CPUs of its own on this host.
    :param ports: the TCP ports that the host's instances listen on.
    :returns: ``sysctl`` (each ``name``, ``value``, ``reason``, ``source``, ``override``), ``sysfs`` (the same with
        ``path``, which may contain wildcards, for ``name``), ``modules`` (``name``, ``reason``, ``source``), ``least``
        (``name``, ``value``), ``left_alone`` (``name``, ``reason``), ``live`` (whether a refusal is an error:
        ``required``, ``reason``), ``exclude`` (the role's templates that this host does not need) and ``warnings``.
        Values are strings as the kernel prints them.
    :raises WishError: an override could not work on any host.
    """
    asked = {key: value for key, value in (overrides or {}).items() if value is not None}
    for key in asked:
        if key not in OVERRIDES:
            raise WishError(f"kernel_tuning_{key}", "is not a setting of the kernel's tuning", nearest(key, OVERRIDES))
    wanted = _wanted_sysctls(asked.get("sysctl", {}))
    control = wanted.get(CONTROL)
    if control is not None and not _CONTROL.fullmatch(control):
        problem = "cannot name a congestion control, which is a module of the kernel too"
        raise WishError(f"kernel_tuning_sysctl.{CONTROL}", problem, "write it as in bbr")
    planned = [*kernel_sysctls.network(topology, ports), *kernel_sysctls.memory(topology)]
    planned += kernel_sysctls.undisturbed(topology) if pinned else []
    planned += kernel_sysctls.beside(control)
    virtualization = topology.get("virtualization") or "none"
    shared = shares_kernel(topology)
    modules = _modules(asked.get("modules", []), control)
    sysfs = [*_huge_pages(asked), *_frequency(asked), *_idle(topology, asked)]
    return {
        "sysctl": _settled(planned, wanted),
        "sysfs": sysfs,
        "modules": modules,
        "least": [{"name": name, "value": str(value)} for name, value in kernel_sysctls.LEAST.items()],
        "left_alone": [
            {"name": name, "reason": reason} for name, reason in kernel_sysctls.LEFT_ALONE.items() if name not in wanted
        ],
        "live": {
            "required": not shared,
            "reason": f"{virtualization} shares the kernel of its host" if shared else "the kernel is the host's own",
        },
        "exclude": _exclude(modules, sysfs),
        "warnings": _unfamiliar(wanted, planned),
    }


def _exclude(modules: list[KernelModule], sysfs: list[Sysfs]) -> list[str]:
    """Return the role's templates that this host does not need: files without a setting would only raise questions."""
    # Of drivers that come up late, after tmpfiles.
    late = [each for each in sysfs if "/cpu" in each["path"]]
    needed = {MODULE_FILES: modules, SYSFS_FILES: sysfs, LATE_FILES: late}
    return [pattern for pattern, settings in needed.items() if not settings]


def _settled(planned: Iterable[Setting], wanted: Mapping[str, str | None]) -> list[Sysctl]:
    known = {setting.name: setting for setting in planned}
    result: list[Sysctl] = []
    for name in [*known, *(name for name in wanted if name not in known)]:
        value = wanted.get(name, "")
        if value is None:
            continue
        setting = known.get(name)
        if name not in wanted and setting:
            value, reason, source = setting.value, setting.reason, setting.source
        elif setting:
            source = setting.source
            reason = f"(override) the plan would have {setting.value}: {setting.reason}"
        else:
            source = "kernel_tuning_sysctl"
            reason = "(override) the plan has no opinion on it"
        override = name in wanted
        result.append({"name": name, "value": value, "reason": reason, "source": source, "override": override})
    return result


def _wanted_sysctls(given: Any) -> dict[str, str | None]:
    path = "kernel_tuning_sysctl"
    if not isinstance(given, Mapping):
        raise WishError(path, f"is {described(given)}", "give a mapping of names to values")
    result: dict[str, str | None] = {}
    for name, value in given.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name) or ".." in name or len(name) > _LONGEST_NAME:
            raise WishError(
                path, f"{described(name)} is not the name of a setting", "write it as in net.core.somaxconn"
            )
        result[name] = _sysctl_value(f"{path}.{name}", value)
    return result


def _sysctl_value(path: str, value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        raise WishError(path, f"is {described(value)}", f"give {int(value)}")
    if not isinstance(value, (int, str)) or not str(value).strip() or "\n" in str(value).strip():
        raise WishError(path, f"is {described(value)}", "give a number or a line of text, or null to leave it alone")
    return scalars.one_line(path, " ".join(str(value).split()))


def _unfamiliar(wanted: Mapping[str, str | None], planned: Iterable[Setting]) -> list[str]:
    known = {setting.name for setting in planned} | set(kernel_sysctls.LEFT_ALONE)
    guesses = {name: nearest(name, known) for name in wanted if name not in known}
    return [f"kernel_tuning_sysctl.{name}: {guess}" for name, guess in guesses.items() if guess and _twins(name, guess)]


def _twins(name: str, guess: str) -> bool:
    # Names such as tcp_rmem and tcp_wmem are similar without either being a typo; a typo changes the length by a letter
    # or swaps two, and leaves the first part in place.
    other = guess.split("'")[1]
    return sorted(name) == sorted(other) or abs(len(name) - len(other)) == 1


def _modules(given: Any, congestion_control: str | None) -> list[KernelModule]:
    path = "kernel_tuning_modules"
    if not isinstance(given, (list, tuple)):
        raise WishError(path, f"is {described(given)}", "give a list of names of kernel modules")
    for name in given:
        if not isinstance(name, str) or not _MODULE.fullmatch(name):
            raise WishError(path, f"{described(name)} is not the name of a kernel module", "write it as in tcp_bbr")
    found: list[KernelModule] = [{"name": name, "reason": "(override) asked for", "source": path} for name in given]
    # Both are built into every kernel.
    needed = f"tcp_{congestion_control}" if congestion_control not in (None, "cubic", "reno") else ""
    if needed and needed not in given:
        reason = "brings the congestion control that is asked for"
        found.append({"name": needed, "reason": reason, "source": kernel_sysctls.IP})
    return found


def _huge_pages(asked: Mapping[str, Any]) -> list[Sysfs]:
    folder = "/sys/kernel/mm/transparent_hugepage"
    mode = asked.get("thp", "madvise")
    if mode == KEEP:
        return []
    if mode not in THP_CHOICES:
        raise WishError("kernel_tuning_thp", f"is {described(mode)}", f"choose from {', '.join(THP_CHOICES)} or {KEEP}")
    enabled = (
        "only memory whose owner asks for it, as jemalloc does for its metadata (metadata_thp); for all of it, resident"
        " memory grows with every swap of models and faults wait for compaction"
    )
    defrag = "a fault that finds no huge page takes a small one; compacting is left to the kernel's own threads"
    return [
        _sysfs(f"{folder}/enabled", mode, _choice(enabled, mode, "madvise"), HUGE_PAGES, mode != "madvise"),
        _sysfs(f"{folder}/defrag", "defer", defrag, HUGE_PAGES, False),
    ]


def _frequency(asked: Mapping[str, Any]) -> list[Sysfs]:
    policies = "/sys/devices/system/cpu/cpufreq/policy*"
    governor = asked.get("governor", "performance")
    preference = asked.get("energy_preference", KEEP)
    for name, value in (("governor", governor), ("energy_preference", preference)):
        if not isinstance(value, str) or not re.fullmatch(r"[a-z0-9_]{1,40}", value):
            raise WishError(f"kernel_tuning_{name}", f"is {described(value)}", f"give its name, or {KEEP}")
    if preference != KEEP and governor == "performance":
        problem = "has no effect beside kernel_tuning_governor: performance, under which drivers take no preference"
        raise WishError("kernel_tuning_energy_preference", problem, "set the governor to powersave or leave this out")
    found = []
    if governor != KEEP:
        reason = "requests come in bursts shorter than the time a governor takes to raise the clock"
        found.append(
            _sysfs(
                f"{policies}/scaling_governor",
                governor,
                _choice(reason, governor, "performance"),
                CPU_FREQUENCY,
                governor != "performance",
            )
        )
    if preference != KEEP:
        reason = "(override) the plan would leave the processor's own balance of clock and energy alone"
        found.append(_sysfs(f"{policies}/energy_performance_preference", preference, reason, CPU_FREQUENCY, True))
    return found


def _idle(topology: Topology, asked: Mapping[str, Any]) -> list[Sysfs]:
    limit = scalars.decimal(asked.get("cpu_latency_us"))
    if limit is None:
        # Waking from the deepest states takes some hundred microseconds, against milliseconds for a request, and a
        # sleeping core leaves power for its neighbours' turbo.
        return []
    if not scalars.is_whole(limit) or not 1 <= limit < 2**31:
        raise WishError("kernel_tuning_cpu_latency_us", f"is {described(limit)}", "give microseconds, or leave it out")
    cpus = [cpu["id"] for cpu in topology["cpus"] if cpu["online"]]
    where = "{" + ",".join(map(str, cpus)) + "}" if len(cpus) > 1 else str(cpus[0])
    reason = (
        f"(override) no idle state that takes longer than {limit} us to leave; the plan would leave them all in use"
    )
    path = f"/sys/devices/system/cpu/cpu{where}/power/pm_qos_resume_latency_us"
    return [_sysfs(path, str(limit), reason, CPU_IDLE, True)]


def _sysfs(path: str, value: str, reason: str, source: str, override: bool) -> Sysfs:
    return {"path": path, "value": value, "reason": reason, "source": source, "override": override}


def _choice(reason: str, value: str, planned: str) -> str:
    return reason if value == planned else f"(override) the plan would have {planned}: {reason}"
