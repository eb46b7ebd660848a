# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The wish `tfserving_models`, checked and normalised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.refusals import Refusals

from . import cache as wish_cache
from . import checks as fields
from . import contract as wish_contract
from . import golden as wish_golden
from . import lists as wish_lists
from . import rollout as wish_rollout
from . import source as model_source

MODELS = "tfserving_models"

# Versions kept on disk: the one in service, the one before it for a rollback, and one more in case the rollback turns
# out to be broken too.
KEEP = 3


@dataclass
class ModelWish:
    """One normalised entry of `tfserving_models`."""

    path: str
    name: str
    versions: list[int]
    """The versions that must be on disk, ascending."""
    provided: list[int]
    """The versions among them that the source can provide."""
    source: dict[str, Any]
    serve: dict[str, Any]
    keep: int
    contract: dict[str, Any] | None = None
    probe: dict[str, Any] | bool | None = None
    golden: dict[str, Any] | None = None
    """The file of golden requests; ``wishes.golden.fill`` adds what stands in it."""
    warmup: str | bool = wish_golden.AUTO
    memory_mb: int | None = None
    cache: dict[str, Any] | None = None
    """How gateways remember its answers; None for a model whose answers nobody remembers."""
    chosen: bool = True
    """Whether the user sets which versions to serve; by default, the newest wished version is served."""
    rollout: dict[str, Any] | None = None
    """How rollout.yml moves its version; None for a model whose version site.yml moves."""
    coming: int = 1
    """The versions that a change loads beside the resident ones."""
    waits: dict[str, Any] | None = None
    """The move that waits for rollout.yml, as planner/held.py settles it."""
    protected: list[int] = field(default_factory=list)
    """Versions that need not be on disk, but stay there if they are: a rollback goes back to them."""
    proofs: dict[int, dict[str, Any]] = field(default_factory=dict)
    """What proves versions that have a proof of their own: contract, probe, golden and warmup."""

    def resident(self) -> int:
        """Return the maximum number of versions of the model in memory while nothing changes."""
        if "versions" in self.serve:
            return len(self.serve["versions"])
        # "all" loads every version on disk.
        latest: int = self.serve.get("latest", self.keep)
        return latest


FIELDS: dict[str, fields.Check] = {
    "name": fields.model_name,
    "source": model_source.source,
    "version": fields.version,
    "versions": fields.versions,
    "serve": fields.serve,
    "keep": fields.whole(1, fields.MOST_ENTRIES, "a count of versions"),
    "contract": wish_contract.contract,
    "probe": wish_contract.probe,
    "golden": wish_golden.file,
    "warmup": wish_golden.warmup,
    "memory_mb": fields.whole(1, 10**9, "the size of one loaded version in MB, a whole number"),
    "cache": wish_cache.cache,
    "rollout": wish_rollout.rollout,
}


def read(value: Any, refusals: Refusals) -> list[ModelWish]:
    """Return the models in the wishes, and add what is wrong to ``refusals``."""
    wishes = wish_lists.entries(MODELS, value, refusals)
    models = [_model(f"{MODELS}[{position}]", wish, refusals) for position, wish in enumerate(wishes)]
    return [model for model in models if model]


def _model(path: str, wish: Any, refusals: Refusals) -> ModelWish | None:
    before = len(refusals.errors)
    given = wish_lists.entry(path, wish, "a model", FIELDS, refusals)
    if given is None:
        return None
    if wish.get("source") is None:
        remedy = "say where the model comes from, as {type: path, uri: ...} or {type: http, uri: ..., sha256: ...}"
        refusals.add(WishError(f"{path}.source", "is missing", remedy))
    if (wish.get("version") is None) == (wish.get("versions") is None):
        problem = "is missing" if wish.get("version") is None else "repeats what versions says"
        refusals.add(WishError(f"{path}.version", problem, "give either version (one) or versions (a list)"))
    if len(refusals.errors) > before:
        # Rules between fields would only repeat the errors of the fields. The name is still known, so that instances
        # that serve it are not refused as well.
        return ModelWish(path, given.get("name", ""), [], [], {}, {"latest": 1}, KEEP)
    asked = given.pop("versions", None) or [given.pop("version")]
    # Served by number: with the policy "latest", going back to a version would leave the newer one in service.
    chosen, serve = "serve" in given, given.pop("serve", {"versions": [max(asked)]})
    versions = sorted({*asked, *serve.get("versions", ())})
    if given.get("rollout") is not None and "versions" not in serve:
        problem = f"says {next(iter(serve))}, and a roll-out needs versions by number"
        refusals.add(WishError(f"{path}.serve", problem, f"write serve: {{versions: [{max(asked)}]}}, or leave it out"))
    provided = refusals.check(model_source.provided, f"{path}.source", given["source"], asked, versions, default=[])
    keep = refusals.check(_keep, f"{path}.keep", given.pop("keep", None), serve, default=KEEP)
    return ModelWish(path=path, versions=versions, provided=provided, serve=serve, keep=keep, chosen=chosen, **given)


def _keep(path: str, keep: int | None, serve: Mapping[str, Any]) -> int:
    served = serve.get("latest") or len(serve.get("versions", ())) or 1
    if keep is None:
        return max(KEEP, served)
    if keep < served:
        raise WishError(path, f"leaves {keep} on disk, but {served} versions are served", f"set it to {served} or more")
    return keep


def warnings(models: list[ModelWish]) -> list[str]:
    """Return warnings of what is valid but probably unintended."""
    found = []
    for model in models:
        idle = sorted(set(model.versions) - set(model.serve.get("versions", model.versions)))
        if idle and model.chosen:
            listed = fields.listed(idle)
            found.append(f"{model.path}.version: {listed} is put on disk and not served; add it to serve.versions")
    return found
