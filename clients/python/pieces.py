# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Large Predict requests in pieces that are sent at once, as ../spec.md says."""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections.abc import Sequence

import grpc
import serving_pb2 as serving  # made of ../protos by protoc
from tensors import check_signature, joined, pieces_of, rows_of

SERVICE = "/tensorflow.serving.PredictionService/"


def sizes(rows: int, size: int, free: int) -> list[int]:
    """Return the rows of each piece, which differ by one at most."""
    pieces = max(1, min(math.ceil(rows / size), free))
    each, more = divmod(rows, pieces)
    return [each + 1] * more + [each] * (pieces - more)


class Pieces:
    """Predicts over channels to one address; ``size`` rows are worth a piece, ``slots`` calls may run at a time."""

    def __init__(self, channels: Sequence[grpc.aio.Channel], size: int, slots: int) -> None:
        self._size, self._slots, self._busy, self._turns = size, slots, 0, itertools.count()
        ask, told = serving.PredictRequest.SerializeToString, serving.PredictResponse.FromString
        self._predict = [channel.unary_unary(SERVICE + "Predict", ask, told) for channel in channels]
        ask, told = serving.GetModelMetadataRequest.SerializeToString, serving.GetModelMetadataResponse.FromString
        self._metadata = channels[0].unary_unary(SERVICE + "GetModelMetadata", ask, told)

    async def predict(self, request: serving.PredictRequest, timeout: float) -> serving.PredictResponse:
        """Return the answer to a request within a time in seconds. Raises RefusedError and AioRpcError."""
        deadline = time.monotonic() + timeout
        cut = sizes(max(map(rows_of, request.inputs.values()), default=0), self._size, self._slots - self._busy)
        self._busy += len(cut)
        try:
            if len(cut) == 1:
                return await self._call(request, deadline)
            try:
                return await self._at_once(request, cut, deadline)
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.NOT_FOUND or request.model_spec.HasField("version"):
                    raise
            return await self._at_once(request, cut, deadline)  # the version was unloaded after it was read
        finally:
            self._busy -= len(cut)

    async def _at_once(self, request, cut, deadline):
        asked = serving.GetModelMetadataRequest(model_spec=request.model_spec, metadata_field=["signature_def"])
        told = await self._metadata(asked, timeout=deadline - time.monotonic())
        check_signature(request, told.metadata["signature_def"])
        version = told.model_spec.version.value
        calls = [asyncio.ensure_future(self._call(piece, deadline)) for piece in pieces_of(request, cut, version)]
        try:
            return joined(await asyncio.gather(*calls), cut, version)
        finally:
            for call in calls:
                call.cancel()

    async def _call(self, request, deadline):
        call = self._predict[next(self._turns) % len(self._predict)]
        return await call(request, timeout=deadline - time.monotonic())
