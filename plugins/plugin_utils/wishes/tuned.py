# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The wish `tfserving_tuned`: settings that a measurement has found, which stand in for what an inventory leaves open.

A variable of its own, since lists do not merge: `playbooks/tune.yml` writes it, and `tfserving_instances` stays as it
is. What an instance sets itself comes first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.refusals import Refusals

from . import checks as fields
from . import instances as wish_instances
from .instances import TUNED, InstanceWish

# The flags that a search varies. Others are a matter of the inventory.
COMPUTING = ("tensorflow_intra_op_parallelism", "tensorflow_inter_op_parallelism")
FLAGS = (*COMPUTING, "grpc_max_threads", "rest_api_num_threads")
# Fields of batching that only go together.
SIZES = ("max_batch_size", "allowed_batch_sizes")


def _flags(path: str, value: Any) -> dict[str, Any]:
    return fields.fields(
        path, value, "the flags that are tuned", dict.fromkeys(FLAGS, fields.count("a count of threads"))
    )


FIELDS: dict[str, fields.Check] = {
    "batching": wish_instances.batching,
    "flags": _flags,
    "measured": fields.text,
}


def check(path: str, value: Any) -> dict[str, dict[str, Any]]:
    """Check the whole variable: for each instance its settings, and what was measured."""
    refusals = Refusals()
    found = {}
    for name, entry in fields.mapping(path, value).items():
        place = f"{path}.{name}" if fields.INSTANCE_NAME.fullmatch(name) else path
        if refusals.check(fields.instance_name, place, name):
            found[name] = refusals.check(fields.fields, place, entry, "tuned settings", FIELDS)
    refusals.stop()
    return found


def merge(instances: Sequence[InstanceWish], tuned: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Add the tuned settings to the instances that leave them open; return warnings of those for no instance."""
    known = {instance.name: instance for instance in instances}
    for name, entry in tuned.items():
        if name in known:
            _add(known[name], entry)
    return [
        f"{TUNED}.{name}: this host has no instance of this name, so it has no effect; remove it if no host has one"
        for name in tuned
        if name not in known
    ]


def _add(instance: InstanceWish, entry: Mapping[str, Any]) -> None:
    note = entry.get("measured", "measured")
    batching = _open(_of_a_batch(entry.get("batching", {}), instance.batching), instance.batching, SIZES)
    if instance.batching.get("enabled") is False:
        batching = {}
    elif instance.batching and batching.get("enabled") is False:
        # The inventory asks for batches.
        batching = {}
    flags = _open(entry.get("flags", {}), instance.flags, COMPUTING)
    places = [f"batching.{key}" for key in batching] + [f"flags.{key}" for key in flags]
    if batching and not instance.batching:
        places.append("batching")
    instance.tuned = dict.fromkeys(places, note)
    instance.batching = {**batching, **instance.batching}
    instance.flags = {**flags, **instance.flags}


def _of_a_batch(found: Mapping[str, Any], wished: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what was found; the size measured is that of a batch, also where the server cuts larger requests."""
    if not wished.get("enable_large_batch_splitting") or "max_batch_size" not in found:
        return found
    others = {key: value for key, value in found.items() if key not in SIZES}
    return {**others, "max_execution_batch_size": found["max_batch_size"]}


def _open(found: Mapping[str, Any], wished: Mapping[str, Any], together: Sequence[str]) -> dict[str, Any]:
    """Return what was found and is not wished; of those that go together all or none."""
    taken = {*wished, *(together if any(key in wished for key in together) else ())}
    return {key: value for key, value in found.items() if key not in taken}
