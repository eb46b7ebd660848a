# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""How a setting is put in force: by a restart of the server, or by another version of its models.

Servers since 2.11 read batching from a file in each version's directory when they load it, so a version of the same
files with other batching needs no restart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ansible_collections.tfserving.fleet.plugins.module_utils.trial.versions import MOST

from ..phrases import joined
from ..planner.schema import InstancePlan
from ..server import flags
from .space import POOLS, Setting

RESTART, VERSION, KEPT = "restart", "version", "kept"
FLAG = "enable_per_model_batching_parameters"
FILE = "batching_params.pbtxt"
# Of a version's file the server uses all but the pool of batch threads, which its models share
# (servables/tensorflow/saved_model_bundle_factory.cc: one batch scheduler, made from the global file).
IN_FILE = ("max_batch_size", "batch_timeout_micros", "max_enqueued_batches", "allowed_batch_sizes")
SHARED = ("num_batch_threads", "thread_pool_name")


class Way(NamedTuple):
    """How a setting is tried, and why not otherwise."""

    how: str
    """One of RESTART, VERSION, KEPT."""
    why: str


def phrase(tried: Mapping[str, Any]) -> str:
    """Return how a setting was put in force and why so, for the progress of a run."""
    words = {RESTART: "a restart", VERSION: "a version of the model", KEPT: "what runs"}
    how, why = str(tried.get("tried_by", RESTART)), tried.get("why")
    return f"{words[how]} ({why})" if why else words[how]


def way(running: Setting | None, wanted: Setting, obstacle: str = "") -> Way:
    """Return how to get from the running setting to the wanted one.

    :param running: what a trial of this run has put in force; None before the first one and after a failed one.
    :param obstacle: why this instance takes no versions, as of ``obstacle()``; empty if it does.
    """
    if running == wanted:
        return Way(KEPT, "the same settings run")
    if obstacle:
        return Way(RESTART, obstacle)
    if running is None:
        return Way(RESTART, "no trial is in force")
    if running.batches is None or wanted.batches is None:
        return Way(RESTART, "batching is switched on or off")
    different = [
        name for name in vars(wanted.batches) if getattr(running.batches, name) != getattr(wanted.batches, name)
    ]
    outside = [name for name in different if name not in IN_FILE]
    outside += [f"{pool} threads" for pool in POOLS if getattr(running, pool) != getattr(wanted, pool)]
    if outside:
        return Way(RESTART, f"{joined(outside)} cannot differ between versions")
    return Way(VERSION, f"{joined(different)} alone {'differs' if len(different) == 1 else 'differ'}")


def obstacle(plan: InstancePlan, served: Mapping[str, Sequence[int]]) -> str:
    """Return why no setting of an instance can be tried as a version of its models; empty if it can.

    :param served: the versions of each model that the plan's settings serve.
    """
    version, asked = plan["server"]["version"], plan["flags"]
    if FLAG not in flags.known_flags(version):
        return f"server {version} does not read {FILE}"
    if FLAG in asked:
        return f"{FLAG} is set in the inventory"
    if not asked.get("file_system_poll_wait_seconds", 1) > 0:
        return "file_system_poll_wait_seconds keeps the server from looking for versions"
    if len(plan["models"]) > MOST:
        return f"the instance has more than {MOST} models"
    return next(filter(None, (_of_model(plan, model, served.get(model, ())) for model in plan["models"])), "")


def _of_model(plan: InstancePlan, model: str, served: Sequence[int]) -> str:
    if plan["swap"].get(model) == "drain":
        return f"the memory does not hold two versions of {model}"
    if len(served) != 1:
        return f"{model} does not serve exactly one version"
    configs: Sequence[Mapping[str, Any]] = plan["model_config"]["model_config_list"]["config"]
    if any(each.get("version_labels") for each in configs if each["name"] == model):
        return f"{model} has labels, which a version of a trial would not have"
    return ""
