# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The server loads the same versions again and again."""

from __future__ import annotations

import re
from collections import Counter

from ... import page
from ...case import Case
from ...derived import each_running
from ...finding import Fault, Judged, Remedy
from ...instance import Instance
from ...verdicts import cleared, proof, unknown

# A version is loaded once; a second time means that it was unloaded in between.
LOADS = 2
# Of lines that the log keeps: a person who publishes does so less often.
LINES = 3
_LOADED = re.compile(r"Successfully loaded servable version \{name: ([^ ]{1,100}) version: ([0-9]{1,19})\}")


def judge(case: Case) -> list[Judged]:
    """Judge each instance that runs."""
    return each_running(case, _judged)


def _judged(case: Case, instance: Instance) -> Judged | None:
    if not instance.page.known and not instance.evidence.get("log"):
        return unknown("neither its page nor its log could be read", instance.name)
    growths = instance.page.growths(page.LOADS, status="success")
    path, loads = max(
        ((dict(at).get("model_path", ""), each) for at, each in growths.items()), key=_second, default=("", 0.0)
    )
    name, lines = _repeated(instance)
    evidence = (
        proof("load_attempt_count", f"{loads:.0f} loads of one version", "one at most", case.window_s),
        proof(f"journalctl -u tfserving@{instance.name}", f"{lines} loads of one version", "one"),
    )
    if loads < LOADS and lines < LINES:
        return cleared("No version was loaded twice.", *evidence, instance=instance.name)
    return Judged(
        "cause" if loads >= LOADS else "suspect",
        0.9 if loads >= LOADS else 0.6,
        evidence,
        "A roll-out loads each version once, and one that fails is not loaded; here the same version comes back, so "
        "that its files or its configuration go and return.",
        instance.name,
        name or path.rstrip("/").rpartition("/")[0].rpartition("/")[2] or None,
        impact=0.6,
    )


def _second(row: tuple[str, float]) -> float:
    return row[1]


def _repeated(instance: Instance) -> tuple[str, int]:
    """Return the model whose version the log names most often as loaded, and how often."""
    found = Counter(match.groups() for line in instance.log("Successfully loaded") if (match := _LOADED.search(line)))
    ((name, _version), often) = max(found.items(), key=lambda item: item[1], default=(("", ""), 0))
    return name, often


FAULT = Fault(
    id="models.reload_loop",
    title="A version is loaded again and again",
    layer="configuration",
    observable="load_attempt_count grows while nothing is published",
    remedy=Remedy(
        "See who writes models.config or the model's directory, and let the role put both right. While that is not "
        "found, no polling of the file stops it.",
        "ansible-playbook playbooks/plan.yml --limit HOST; ansible-playbook playbooks/site.yml --limit HOST",
        "low",
        restart=False,
    ),
    refs=("https://github.com/tensorflow/serving/issues/1786",),
    judge=judge,
)
