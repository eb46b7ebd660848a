# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""CPUs: whether instances have those of the plan, and whether anything keeps them from running on them."""

from __future__ import annotations

from .. import sources
from ..model import Alert, Signal, Threshold
from ..thresholds import CPU_WAIT, MEMORY_WAIT, STOLEN, THROTTLED

_BY = "sum by (host, serving_instance)"


def _rate(name: str) -> str:
    return f'{_BY} (rate(tfserving_instance_{name}{{job="node"}}[5m]))'


SIGNALS = (
    Signal(
        "tfserving:cpus_used",
        "CPUs in use",
        "short",
        "instance",
        _rate("run_seconds_total"),
        "CPUs that the threads of an instance take.",
        ("host", "serving_instance"),
    ),
    Signal(
        "tfserving:cpu_wait_ratio",
        "Wait for a CPU",
        "percentunit",
        "instance",
        f"{_rate('wait_seconds_total')} / (({_rate('wait_seconds_total')} + {_rate('run_seconds_total')}) > 0)",
        "Share of the time in which threads could run and had no CPU.",
        ("host", "serving_instance"),
    ),
    Signal(
        "tfserving:throttled_ratio",
        "Throttled periods",
        "percentunit",
        "instance",
        f"{_rate('throttled_periods_total')} / ({_rate('periods_total')} > 0)",
        "Share of the quota's periods in which it stopped an instance; missing where there is no quota.",
        ("host", "serving_instance"),
    ),
    Signal(
        "tfserving:slice_pressure_ratio",
        "Pressure",
        "percentunit",
        "host",
        'sum by (host, resource) (rate(tfserving_slice_pressure_seconds_total{job="node"}[5m]))',
        "Share of the time in which a task of the serving slice waited for CPU, memory or disk.",
        ("host", "resource"),
    ),
    Signal(
        "tfserving:steal_ratio",
        "Stolen CPU time",
        "percentunit",
        "host",
        'sum by (host) (rate(node_cpu_seconds_total{job="node",mode="steal"}[5m]))'
        ' / sum by (host) (rate(node_cpu_seconds_total{job="node"}[5m]))',
        "Share of CPU time that the hypervisor gave to other guests.",
        ("host",),
    ),
)

ALERTS = (
    Alert(
        "CpusDrift",
        'tfserving_instance_cpus_match_plan{job="node"} == 0',
        "5m",
        "ticket",
        "instance",
        Threshold(
            "cpuset or affinity other than planned, 5 min",
            "instances then share CPUs with each other, with interrupts or with the system",
            "systemd/systemd#43846; the plan in force",
        ),
        "Threads of {{ $labels.serving_instance }} on {{ $labels.host }} do not run on the CPUs of the plan.",
        "Run playbooks/serve.yml, which applies cpusets again; look for what changes them (numad, tuned, taskset).",
    ),
    Alert(
        "CpuThrottled",
        f"tfserving:throttled_ratio > {THROTTLED.value:g}",
        "5m",
        "ticket",
        "instance",
        THROTTLED.threshold(f"{THROTTLED.percent} of the periods for 5 min"),
        "A CPU quota stops {{ $labels.serving_instance }} on {{ $labels.host }} in {{ $value | humanizePercentage }} of"
        " its periods.",
        "Remove CPUQuota= from the unit and its slices; the plan's cpuset keeps it apart from others.",
        ("tfserving:throttled_ratio",),
    ),
    Alert(
        "CpuPressure",
        f'tfserving:slice_pressure_ratio{{resource="cpu"}} > {CPU_WAIT.value:g}',
        "10m",
        "ticket",
        "host",
        CPU_WAIT.threshold(f"{CPU_WAIT.percent} of the time for 10 min"),
        "Servers on {{ $labels.host }} wait for CPUs {{ $value | humanizePercentage }} of the time.",
        "playbooks/diagnose.yml tells whether neighbours, too many threads or plain load take them.",
        ("tfserving:slice_pressure_ratio",),
    ),
    Alert(
        "MemoryPressure",
        f'tfserving:slice_pressure_ratio{{resource="memory"}} > {MEMORY_WAIT.value:g}',
        "10m",
        "ticket",
        "host",
        MEMORY_WAIT.threshold(f"{MEMORY_WAIT.percent} of the time for 10 min"),
        "Servers on {{ $labels.host }} wait for memory {{ $value | humanizePercentage }} of the time.",
        "Find what else uses memory on the host, and whether a limit of the slice is lower than planned.",
        ("tfserving:slice_pressure_ratio",),
    ),
    Alert(
        "StolenCpuTime",
        f"tfserving:steal_ratio > {STOLEN.value:g}",
        "10m",
        "ticket",
        "host",
        STOLEN.threshold(f"{STOLEN.percent} for 10 min"),
        "The hypervisor takes {{ $value | humanizePercentage }} of the CPU time of {{ $labels.host }}.",
        "Give the guest dedicated cores, or move it.",
        ("tfserving:steal_ratio",),
    ),
    Alert(
        "PlanDrift",
        'tfserving_instance_matches_plan{job="node"} == 0',
        "15m",
        "ticket",
        "instance",
        Threshold(
            "15 min",
            "a run restarts one instance after another; after that all of them run with the plan in force",
            sources.PLAN,
        ),
        "{{ $labels.serving_instance }} on {{ $labels.host }} does not run with the plan in force.",
        "Run playbooks/serve.yml, and read what it says if it ends early.",
    ),
)
