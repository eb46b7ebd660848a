# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What each recipe asks of the server, and whether a model and a server's release allow it. Runs without TensorFlow."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

Version = tuple[int, int, int]

# Protobuf's largest message; a frozen model is one (https://protobuf.dev/programming-guides/proto-limits).
LARGEST_GRAPH_MB = 2047
# Releases of the server that brought a flag, by the tags of its repository; --mixed_precision came with 2.15.1.
MIXED_PRECISION = (2, 15, 1)
XLA_ON_GPU = (2, 18, 0)
# The notes of 2.18.0: built without TensorRT from there on.
LAST_TENSORRT = (2, 17)
# The earliest server that reads signatures by name out of a model.tflite (tflite_session.cc of 2.8).
TFLITE = (2, 8, 0)
AUTO_CLUSTERING = "--tf_xla_auto_jit=2 --tf_xla_cpu_global_jit"


@dataclass(frozen=True)
class Needs:
    """What a candidate asks of the instance that serves it."""

    server_flags: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    touches_others: bool = False
    others: str = "other models of the instance are not touched"

    def plain(self) -> dict[str, Any]:
        """Return the needs as a result has them."""
        return {
            "server_flags": self.server_flags,
            "environment": self.environment,
            "touches_others": self.touches_others,
            "others": self.others,
        }


_MIXED = Needs(
    {"mixed_precision": "bfloat16"}, {}, True, "every model of the instance is computed in bfloat16 where it can be"
)
_TFLITE = Needs(
    {"prefer_tflite_model": True},
    {},
    True,
    "every model of the instance that has a model.tflite is served from it; the others are not touched",
)


def needs(recipe: dict[str, Any]) -> Needs:
    """Return what a candidate asks of its server."""
    kind = recipe["kind"]
    if kind == "xla":
        return _xla_needs(recipe)
    return {"mixed_precision": _MIXED, "tflite_float": _TFLITE, "tflite_int8": _TFLITE}.get(kind, Needs())


def _xla_needs(recipe: dict[str, Any]) -> Needs:
    flags = {f"xla_{recipe['device']}_compilation_enabled": True}
    if recipe["how"] == "attribute":
        words = "the flag permits compilation; other models are compiled only where they ask for it themselves"
        return Needs(flags, {}, False, words)
    words = "every model of the instance is compiled wherever TensorFlow thinks it pays"
    clustering = AUTO_CLUSTERING if recipe["device"] == "cpu" else AUTO_CLUSTERING.split()[0]
    return Needs(flags, {"TF_XLA_FLAGS": clustering}, True, words)


def refusal(recipe: dict[str, Any], model: dict[str, Any], version: Version) -> str:
    """Return why a model cannot be given a recipe for a server of a release, in one sentence; empty if it can."""
    return next(_refusals(recipe, model, version), "")


def _refusals(recipe: dict[str, Any], model: dict[str, Any], version: Version) -> Iterator[str]:
    kind = recipe["kind"]
    if model["has_random"]:
        yield "the model answers at random, so no candidate's answers can be compared with its own"
    if model["has_state"]:
        yield "the model keeps state between requests, so no candidate's answers can be compared with its own"
    yield from _of_release(recipe, version)
    if kind == "freeze":
        yield from _unfreezable(model)
    if kind.startswith("tflite"):
        yield from _unconvertible(recipe, model)
    if kind == "xla" and recipe["how"] == "attribute" and not compilable(model):
        yield "every signature of the model takes or gives texts, or parses examples, which XLA cannot compile"


def _of_release(recipe: dict[str, Any], version: Version) -> Iterator[str]:
    kind, shown = recipe["kind"], ".".join(map(str, version))
    if kind == "mixed_precision" and version < MIXED_PRECISION:
        yield f"server {shown} has no --mixed_precision, which came with 2.15.1"
    if kind == "xla" and recipe["device"] == "gpu" and version < XLA_ON_GPU:
        yield f"server {shown} has no --xla_gpu_compilation_enabled, which came with 2.18.0"
    if kind == "tf_trt" and version[:2] > LAST_TENSORRT:
        yield f"server {shown} is built without TensorRT, whose last release is 2.17"
    if kind == "tf_trt" and not recipe.get("gpu"):
        yield "recipe.gpu has to name the GPU model of the servers, which the builder must have too"
    if kind.startswith("tflite") and version < TFLITE:
        yield f"server {shown} does not read the signatures of a model.tflite; 2.8 and later do"


def _unfreezable(model: dict[str, Any]) -> Iterator[str]:
    if model["already_frozen"]:
        yield "the model has no variables, so there is nothing to freeze"
    if model["variables_mb"] + model["graph_mb"] > LARGEST_GRAPH_MB:
        yield (
            f"the frozen model would have {model['variables_mb'] + model['graph_mb']:.0f} MB in one file, and a graph "
            "must stay below 2 GB: serve it with its variables"
        )


def _unconvertible(recipe: dict[str, Any], model: dict[str, Any]) -> Iterator[str]:
    names, wanted = sorted(model["signatures"]), recipe.get("signature")
    if wanted is None and len(names) != 1:
        yield (
            f"a model.tflite has one signature and the model has {len(names)} ({', '.join(names)[:200]}): name the one "
            "that callers use in recipe.signature; the others are lost"
        )
        return
    name = wanted or names[0]
    if name not in model["signatures"]:
        yield f"the model has no signature {name}; it has {', '.join(names)[:200]}"
    elif model["signatures"][name]["parses_examples"]:
        yield f"signature {name} parses examples (tf.Example), which TFLite cannot do: send it tensors, or leave it"


def compilable(model: dict[str, Any]) -> list[str]:
    """Return the signatures that XLA may compile: neither texts nor examples."""
    return [name for name, signature in sorted(model["signatures"].items()) if not _has_texts(signature)]


def _has_texts(signature: dict[str, Any]) -> bool:
    tensors = [*signature["inputs"].values(), *signature["outputs"].values()]
    return signature["parses_examples"] or any(tensor["dtype"] == "DT_STRING" for tensor in tensors)


def lost(recipe: dict[str, Any], model: dict[str, Any]) -> list[str]:
    """Return the signatures that a candidate does not have any more."""
    names = sorted(model["signatures"])
    if not recipe["kind"].startswith("tflite"):
        return []
    kept = recipe.get("signature") or (names[0] if len(names) == 1 else None)
    return [name for name in names if name != kept]


def candidates(model: dict[str, Any], version: Version) -> list[dict[str, Any]]:
    """Return every recipe with what it needs and whether it is possible. Those for GPUs are left to who has them."""
    default = "serving_default" if "serving_default" in model["signatures"] else None
    signature = {"signature": default} if default else {}
    recipes: list[dict[str, Any]] = [
        {"kind": "freeze"},
        {"kind": "xla", "how": "attribute", "device": "cpu"},
        {"kind": "xla", "how": "flags", "device": "cpu"},
        {"kind": "mixed_precision"},
        {"kind": "tflite_float", **signature},
        {"kind": "tflite_int8", **signature},
    ]
    return [_candidate(recipe, model, version) for recipe in recipes]


def _candidate(recipe: dict[str, Any], model: dict[str, Any], version: Version) -> dict[str, Any]:
    why = refusal(recipe, model, version)
    return {
        "recipe": recipe,
        "possible": not why,
        "why": why,
        **needs(recipe).plain(),
        "lost_signatures": lost(recipe, model),
    }
