# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The Python client for large requests (clients/python) in front of this server: real models, versions and labels."""

import asyncio
import sys
from pathlib import Path

import grpc
import harness
import numpy as np
import pytest
from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2
from tfs_reference import tensors

ROWS = np.arange(10, dtype=np.float32)


@pytest.fixture(scope="module")
def client():
    """Return the modules of the client, on upstream's messages."""
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(str(Path(__file__).parents[3] / "clients" / "python"))
        serving = type(sys)("serving_pb2")
        vars(serving).update({**vars(predict_pb2), **vars(get_model_metadata_pb2)})
        patched.setitem(sys.modules, "serving_pb2", serving)
        import pieces
        import tensors as cut

        yield pieces, cut


def plus(array, **spec):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = spec.pop("model", "plus")
    for name, value in spec.items():
        if name == "version":
            request.model_spec.version.value = value
        else:
            setattr(request.model_spec, name, value)
    request.inputs["x"].CopyFrom(tensors.to_proto(array))
    return request


def predict(client, server, request):
    async def run():
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
            return await client[0].Pieces([channel], size=3, slots=8).predict(request, harness.PATIENCE)

    return asyncio.run(run())


@pytest.mark.parametrize(("spec", "version"), [({}, 3), ({"version_label": "stable"}, 1), ({"version": 2}, 2)])
def test_all_rows_are_answered_by_one_version_in_their_order(client, server, spec, version):
    answer = predict(client, server, plus(ROWS, **spec))
    assert tensors.to_array(answer.outputs["y"], "y").tolist() == [row / 2 + version for row in range(10)]
    assert answer.model_spec.version.value == version


def test_rows_of_several_values_stay_together(client, server):
    answer = predict(client, server, plus(ROWS.reshape(5, 2), model="rowsum"))
    assert tensors.to_array(answer.outputs["total"], "total").tolist() == [1, 5, 9, 13, 17]


def test_what_the_server_does_not_know_ends_as_its_own_answer_does(client, server):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        predict(client, server, plus(ROWS, version=9))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_texts_and_other_types_are_as_they_were(client, server):
    request = plus(ROWS, model="echo")
    del request.inputs["x"]
    texts = np.array([f"row {number}".encode() for number in range(10)], object)
    for name, array in {"text": texts, "number": np.arange(10), "flag": np.arange(10) % 2 == 0}.items():
        request.inputs[name].CopyFrom(tensors.to_proto(array))
    answer = predict(client, server, request)
    found = {name: tensors.to_array(each, name).tolist() for name, each in answer.outputs.items()}
    assert found["text"] == [f"ROW {number}".encode() for number in range(10)]
    assert found["number"] == list(range(10))
    assert found["flag"] == [number % 2 == 1 for number in range(10)]
