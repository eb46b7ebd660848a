# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The directory of a model does not exist, which stops the discovery of new versions of all models."""

from __future__ import annotations

from ... import said
from ...case import Case
from ...derived import each_running
from ...finding import Fault, Judged, Remedy
from ...instance import Instance
from ...reading import at
from ...verdicts import cleared, proof, unknown
from ...versions import available, models, on_disk, whole

_WORDS = (r"Could not find base path", r"filesystem access error")


def judge(case: Case) -> list[Judged]:
    """Judge each instance that runs."""
    return each_running(case, _judged)


def _judged(_case: Case, instance: Instance) -> Judged | None:
    names = models(instance)
    exists = {name: at(instance.evidence, "model_files", name, "base_exists") for name in names}
    missing = [name for name, found in exists.items() if found is False]
    words = said.proofs(instance, *_WORDS)
    if not missing and None in exists.values():
        return unknown("the directories of its models could not be read", instance.name)
    if not missing:
        return cleared("The directories of all models exist.", instance=instance.name)
    serves = any(available(instance, name) for name in names)
    frozen = [name for name in names if name not in missing and _waits(instance, name)]
    others = f"{', '.join(frozen)} has versions that are not seen" if frozen else "no other version waits"
    return Judged(
        "cause",
        0.95 if words else 0.85,
        (
            proof(f"the directory of {missing[0]}", "missing", "a directory"),
            proof("directories of other models", others, "new versions are loaded within a second"),
            *words,
        ),
        "A version that fails to load has a state with an error; a model without a directory has no state at all.",
        instance.name,
        missing[0],
        impact=0.8 if serves else 1.0,
    )


def _waits(instance: Instance, model: str) -> bool:
    """Tell whether a version newer than those that serve lies on disk."""
    files, serving = on_disk(instance, model), available(instance, model)
    return bool(files and serving and max(map(whole, files)) > max(serving))


FAULT = Fault(
    id="models.base_path",
    title="The directory of a model is missing",
    layer="configuration",
    observable="Could not find base path, every second; no model gets new versions",
    remedy=Remedy(
        "Publish the model, or take it out of the instance; then discovery goes on by itself.",
        "tfserving_models: [{name: MODEL, version: NUMBER, source: {...}}]; "
        "ansible-playbook playbooks/site.yml --limit HOST",
        "low",
        restart=False,
    ),
    refs=(
        "https://github.com/tensorflow/serving/blob/2.19.1/tensorflow_serving/sources/storage_path/"
        "file_system_storage_path_source.cc",
    ),
    judge=judge,
)
