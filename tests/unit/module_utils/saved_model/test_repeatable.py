# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Graphs whose answers a gateway may remember, and those that answer equal requests differently."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import RefusalError
from ansible_collections.tfserving.fleet.plugins.module_utils.saved_model import repeatable
from saved_models import entry, part, saved_model

REMEDY = "; take the cache off the model, or write cache: {deterministic: true} where you know better"


def node(name, op, *inputs, calls="", listed=""):
    """Return a NodeDef; ``calls`` is a function in an attribute, ``listed`` one in an attribute's list."""
    content = part(1, name) + part(2, op) + b"".join(part(3, each) for each in inputs)
    if calls:
        content += entry(5, "f", part(10, part(1, calls)))
    if listed:
        content += entry(5, "branches", part(1, part(9, part(1, listed))))
    return content


def function(name, *nodes):
    return part(1, part(1, part(1, name)) + b"".join(part(3, each) for each in nodes))


def written(place, nodes, functions=(), output="out:0", more=b""):
    """Write a model with one signature, whose output is a tensor of a node."""
    graph = b"".join(part(1, each) for each in nodes) + part(2, b"".join(functions))
    signature = entry(2, "y", part(1, output))
    path = place / "saved_model.pb"
    path.write_bytes(
        saved_model(part(1, part(4, "serve")) + part(2, graph) + entry(5, "serving_default", signature) + more)
    )
    return str(path)


def refusal(path):
    with pytest.raises(RefusalError) as caught:
        repeatable.check(path)
    assert caught.value.remedy in REMEDY
    return caught.value.problem


def test_what_only_computes_passes(tmp_path):
    repeatable.check(written(tmp_path, [node("x", "Placeholder"), node("out", "MatMul", "x", "w"), node("w", "Const")]))


@pytest.mark.parametrize(
    ("op", "words"),
    [
        ("RandomUniform", "its graph draws lots (RandomUniform)"),
        ("Timestamp", "its graph reads the clock (Timestamp)"),
        ("AssignAddVariableOp", "its graph keeps a state (AssignAddVariableOp)"),
    ],
)
def test_ops_that_an_output_needs_are_refused(tmp_path, op, words):
    nodes = [node("out", "Add", "x:1", "^before"), node("x", "Placeholder"), node("before", op)]
    assert refusal(written(tmp_path, nodes)) == f"its answers are to be remembered, and {words}"


def test_an_initialiser_that_no_output_needs_passes(tmp_path):
    nodes = [
        node("out", "Identity", "v"),
        node("v", "VariableV2"),
        node("fill", "Assign", "v", "r"),
        node("r", "RandomUniform"),
    ]
    repeatable.check(written(tmp_path, nodes))


def test_what_runs_while_the_model_loads_passes(tmp_path):
    nodes = [node("out", "Const"), node("init", "NoOp", "^fill"), node("fill", "AssignVariableOp")]
    more = entry(5, "__saved_model_init_op", entry(2, "op", part(1, "init")))
    repeatable.check(written(tmp_path, nodes, more=more))


def test_dropout_of_training_passes(tmp_path):
    functions = [function("serve", node("y", "Relu")), function("train", node("d", "RandomUniform"))]
    nodes = [
        node("out", "StatefulPartitionedCall", calls="serve"),
        node("save", "StatefulPartitionedCall", calls="train"),
    ]
    repeatable.check(written(tmp_path, nodes, functions))


@pytest.mark.parametrize("how", [{"calls": "inner"}, {"listed": "inner"}, {}])
def test_functions_within_functions_are_followed(tmp_path, how):
    functions = [
        function("outer", node("y", "If" if how else "inner", **how)),
        function("inner", node("z", "outer2")),
        function("outer2", node("r", "RandomShuffle"), node("again", "outer")),
    ]
    nodes = [node("out", "PartitionedCall", calls="outer")]
    assert refusal(written(tmp_path, nodes, functions)).endswith("its graph draws lots (RandomShuffle)")


def test_outputs_that_name_no_node_depend_on_everything(tmp_path):
    nodes = [node("out", "Const"), node("r", "RandomUniform")]
    assert "RandomUniform" in refusal(written(tmp_path, nodes, output="elsewhere:0"))


def test_a_graph_that_is_too_large_is_not_judged(tmp_path, monkeypatch):
    monkeypatch.setattr(repeatable, "MOST_NODES", 2)
    nodes = [node(f"n{number}", "Const") for number in range(3)]
    assert (
        refusal(written(tmp_path, nodes)) == "its graph is too large to tell whether equal requests get equal answers"
    )


def test_a_damaged_file_is_refused(tmp_path):
    path = tmp_path / "saved_model.pb"
    path.write_bytes(b"\xff" * 20)
    with pytest.raises(RefusalError, match="is damaged"):
        repeatable.check(str(path))
