# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Calls the Python client as the lines of its input say: ``driver.py CLIENT RUNTIME [DESCRIPTORS]``.

``predict PORT CHANNELS SIZE SLOTS TIMEOUT_MS TIMES REQUEST`` answers TIMES words, ``sizes ROWS SIZE FREE`` the sizes.
"""

from __future__ import annotations

import asyncio
import base64
import sys
import types
from pathlib import Path

CLIENT, RUNTIME, *DESCRIPTORS = sys.argv[1:]
sys.path[:0] = [CLIENT]
sys.path.append(RUNTIME)
MESSAGES = (
    "PredictRequest",
    "PredictResponse",
    "GetModelMetadataRequest",
    "GetModelMetadataResponse",
    "SignatureDefMap",
)


def upstream():
    """Return upstream's messages, without importing all of TensorFlow."""
    sys.modules["tensorflow"] = types.ModuleType("tensorflow")
    sys.modules["tensorflow"].__path__ = [f"{RUNTIME}/tensorflow"]
    from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2

    return {**vars(predict_pb2), **vars(get_model_metadata_pb2)}


def own():
    """Return the messages of clients/protos, as protoc described them."""
    from google.protobuf import descriptor_pb2, message_factory

    files = descriptor_pb2.FileDescriptorSet.FromString(Path(DESCRIPTORS[0]).read_bytes())
    found = message_factory.GetMessages(files.file) if hasattr(message_factory, "GetMessages") else None
    found = found or message_factory.GetMessageClassesForFiles([each.name for each in files.file], pool(files))
    return {name.rpartition(".")[2]: message for name, message in found.items()}


def pool(files):
    """Return a pool with the files."""
    from google.protobuf import descriptor_pool

    made = descriptor_pool.DescriptorPool()
    for each in files.file:
        made.Add(each)
    return made


serving = types.ModuleType("serving_pb2")
messages = own() if DESCRIPTORS else upstream()
for name in MESSAGES:
    setattr(serving, name, messages[name])
sys.modules["serving_pb2"] = serving

# Only now, since they import those messages.
import grpc  # noqa: E402
import pieces  # noqa: E402
import tensors  # noqa: E402


async def answered(client, request, timeout_s):
    """Return how a request ended, as a word."""
    try:
        return f"answer:{encoded((await client.predict(request, timeout_s)).SerializeToString())}"
    except tensors.RefusedError as error:
        return f"refused:{encoded(str(error).encode())}"
    except grpc.aio.AioRpcError as error:
        return f"error:{error.code().name}"


def encoded(content):
    return base64.b64encode(content).decode()


async def predict(port, channels, size, slots, timeout_ms, times, request):
    """Return how requests sent at once ended."""
    wish = serving.PredictRequest.FromString(base64.b64decode(request))
    apart = [("grpc.use_local_subchannel_pool", 1)]  # or all channels would share a connection
    opened = [grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=apart) for _ in range(int(channels))]
    client = pieces.Pieces(opened, int(size), int(slots))
    ended = await asyncio.gather(*(answered(client, wish, int(timeout_ms) / 1000) for _ in range(int(times))))
    await asyncio.gather(*(each.close() for each in opened))
    return ended


for line in sys.stdin:
    verb, *words = line.split()
    if verb == "sizes":
        print(*pieces.sizes(*map(int, words)), flush=True)
    else:
        print(*asyncio.run(predict(*words)), flush=True)
