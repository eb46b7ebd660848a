# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Memory of instances: what they hold, what is left to their limit, and what loads leave behind."""

from __future__ import annotations

from .. import sources
from ..model import Alert, Signal, Threshold
from ..thresholds import FILES_USED

_HERE = "on (host, serving_instance)"

SIGNALS = (
    Signal(
        "tfserving:memory_used_ratio",
        "Use of memory",
        "percentunit",
        "instance",
        f'tfserving_instance_resident_bytes{{job="node"}} / {_HERE}'
        ' (tfserving_instance_memory_limit_bytes{job="node"} > 0)',
        "Resident memory of an instance, of what the kernel lets it have.",
        ("host", "serving_instance"),
    ),
    Signal(
        "tfserving:swapped_ratio",
        "Swapped out",
        "percentunit",
        "instance",
        f'tfserving_instance_swap_bytes{{job="node"}} / {_HERE} (tfserving_instance_resident_bytes{{job="node"}} > 0)',
        "Memory of an instance that is swapped out, over what is resident.",
        ("host", "serving_instance"),
    ),
)

ALERTS = (
    Alert(
        "MemoryNearLimit",
        "tfserving:memory_used_ratio > 0.9",
        "10m",
        "ticket",
        "instance",
        Threshold(
            "90 % of memory.max for 10 min",
            "the next load needs room for a second version; above the limit the kernel ends the server",
            "tensorflow/serving#2017, #1929; memory.max in the plan",
        ),
        "{{ $labels.serving_instance }} on {{ $labels.host }} holds {{ $value | humanizePercentage }} of its"
        " memory's limit.",
        "Keep fewer versions, swap by draining first, or give it more memory (docs/plan.md, memory).",
        ("tfserving:memory_used_ratio",),
    ),
    Alert(
        "OutOfMemoryKill",
        "sum by (host, serving_instance)"
        ' (increase(tfserving_instance_memory_events_total{job="node",event="oom_kill"}[15m])) > 0.5',
        "0s",
        "page",
        "instance",
        Threshold("once", "every call in flight was lost", "cgroup-v2: memory.events, oom_kill"),
        "The kernel ended {{ $labels.serving_instance }} on {{ $labels.host }} for want of memory.",
        "Compare the plan's memory with what the models need; until then serve fewer versions at a time.",
    ),
    Alert(
        "InstanceSwapped",
        "tfserving:swapped_ratio > 0.01",
        "10m",
        "ticket",
        "instance",
        Threshold(
            "1 % for 10 min",
            "a page that comes back from disk takes a thousand times as long as one in memory",
            "proc(5): VmSwap; vm.swappiness in docs/kernel-tuning.md",
        ),
        "{{ $value | humanizePercentage }} of {{ $labels.serving_instance }} on {{ $labels.host }} is swapped out.",
        "Find what else uses the memory; then restart the instance, which reads itself back.",
        ("tfserving:swapped_ratio",),
    ),
    Alert(
        "MemoryGrowsWithLoads",
        'tfserving_instance_load_growth_steps{job="node"} >= 3',
        "0s",
        "ticket",
        "instance",
        Threshold(
            "3 loads in a row, over 5 % of the models' size each",
            "freed memory does not go back to the kernel in full; one step is noise, three are a trend",
            "tensorflow/serving#1664, #2142",
        ),
        "Each of the last {{ $value }} loads of {{ $labels.serving_instance }} on {{ $labels.host }} has left more"
        " memory behind.",
        "Serve with jemalloc (docs/plan.md, allocator), and restart the instance before it meets its limit.",
    ),
    Alert(
        "AllocatorDrift",
        'tfserving_instance_allocator_matches_plan{job="node"} == 0',
        "5m",
        "ticket",
        "instance",
        Threshold("another than planned, 5 min", "without the planned one memory grows with each load", sources.PLAN),
        "{{ $labels.serving_instance }} on {{ $labels.host }} runs with another allocator than the plan's.",
        "Run playbooks/serve.yml; the library is missing, or the unit was started with another environment.",
    ),
    Alert(
        "OpenFilesNearLimit",
        f'tfserving_instance_open_files{{job="node"}} / {_HERE}'
        f' (tfserving_instance_open_files_limit{{job="node"}} > 0) > {FILES_USED.value:g}',
        "10m",
        "ticket",
        "instance",
        FILES_USED.threshold(f"{FILES_USED.percent} of LimitNOFILE for 10 min"),
        "{{ $labels.serving_instance }} on {{ $labels.host }} has {{ $value | humanizePercentage }} of the files open"
        " that it may have.",
        "See who keeps connections open (ss -tnp), and close idle ones at the gateway or the callers.",
    ),
)
