# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A small server of models over real gRPC that plays the part which a vector of clients/vectors.json gives it.

It gives every request its inputs back. A call is known by the first value of its input ``x``, which numbers the rows.
"""

from __future__ import annotations

import base64
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
from real_protos import message_class

PATIENCE_S = 60
SERVICE = "tensorflow.serving.PredictionService"


def tensor(told):
    """Return the TensorProto that a vector tells of."""
    found = message_class("TensorProto")()
    for name, value in told.items():
        if name == "shape":
            for size in value:
                found.tensor_shape.dim.add(size=size)
        elif name == "dtype":
            found.dtype = found.DESCRIPTOR.fields_by_name["dtype"].enum_type.values_by_name[value].number
        elif name == "tensor_content":
            found.tensor_content = base64.b64decode(value)
        else:
            values = [each.encode() for each in value] if name == "string_val" else value
            getattr(found, name).extend(values)
    return found


def request(told):
    """Return the PredictRequest that a vector tells of."""
    found = message_class("PredictRequest")()
    spec = found.model_spec
    spec.name, spec.version_label = told["model"], told.get("label", "")
    if not spec.version_label:
        spec.ClearField("version_choice")
    if "version" in told:
        spec.version.value = told["version"]
    spec.signature_name = told.get("signature", "")
    found.output_filter.extend(told.get("outputs", ()))
    for name, each in told["inputs"].items():
        found.inputs[name].CopyFrom(tensor(each))
    return found


class PieceServer:
    """The server of one vector; what it saw stands in ``metadata``, ``calls``, ``ended`` and ``peers``."""

    def __init__(self, part, calls):
        self._part, self._wanted = part, calls
        self._changed = threading.Condition()
        self.metadata, self.calls, self.ended, self.peers, self.left_s = [], [], [], set(), []
        self._server = grpc.server(ThreadPoolExecutor(40))
        handlers = {
            "Predict": grpc.unary_unary_rpc_method_handler(
                self._predict, message_class("PredictRequest").FromString, lambda answer: answer.SerializeToString()
            ),
            "GetModelMetadata": grpc.unary_unary_rpc_method_handler(
                self._told,
                message_class("GetModelMetadataRequest").FromString,
                lambda answer: answer.SerializeToString(),
            ),
        }
        self._server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, handlers)])
        self.port = self._server.add_insecure_port("127.0.0.1:0")

    def __enter__(self):
        self._server.start()
        return self

    def __exit__(self, *_):
        self._server.stop(0).wait()

    def settled(self):
        """Wait until the caller has ended each call that is never answered."""
        held = [first for _, first, _ in self.calls if str(first) in self._part.get("hold", ())]
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.ended) == len(held), PATIENCE_S), "held calls go on"

    def _now(self, states, default):
        """Return what is so after as many calls for metadata as there were."""
        known = self._part.get(states, [default])
        return known[min(len(self.metadata), len(known) - 1)]

    def _version(self, spec, context):
        """Return the version that a specification means, as the server does."""
        versions, labels = self._now("versions", []), self._now("labels", {})
        version = max(versions, default=None)
        if spec.HasField("version"):
            version = spec.version.value
        elif spec.version_label:
            version = labels.get(spec.version_label)
        if version not in versions:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: {spec.name} {version}")
        return version

    def _told(self, asked, context):
        answer = message_class("GetModelMetadataResponse")()
        with self._changed:
            left_s = context.time_remaining()
            self._arrived(context, left_s)
            answer.model_spec.version.value = self._version(asked.model_spec, context)
            self.metadata.append(_wish(asked.model_spec))
            if self._part.get("metadata") == "hold":
                self._until_ended(context)
            while context.time_remaining() > left_s - self._part.get("slow_s", 0):
                self._changed.wait(0.02)
        if "signature" in self._part:
            packed = answer.metadata["signature_def"]
            packed.type_url = "type.googleapis.com/tensorflow.serving.SignatureDefMap"
            packed.value = self._signatures(asked.model_spec.signature_name).SerializeToString()
        return answer

    def _signatures(self, name):
        found = message_class("SignatureDefMap")()
        signature = found.signature_def[name or "serving_default"]
        for side in ("inputs", "outputs"):
            for each, sizes in self._part["signature"][side].items():
                shape = getattr(signature, side)[each].tensor_shape
                shape.unknown_rank = sizes is None
                for size in sizes or ():
                    shape.dim.add(size=size)
        return found

    def _predict(self, asked, context):
        first, rows = asked.inputs["x"].int64_val[0], asked.inputs["x"].tensor_shape.dim[0].size
        with self._changed:
            self._arrived(context, context.time_remaining())
            self.calls.append((_wish(asked.model_spec), first, rows))
            self._changed.notify_all()
            if str(first) in self._part.get("hold", ()):
                self._until_ended(context, first)
            self._changed.wait_for(lambda: self._all_came(_wish(asked.model_spec)), PATIENCE_S)
            version = self._version(asked.model_spec, context)
        if str(first) in self._part.get("errors", {}):
            context.abort(grpc.StatusCode[self._part["errors"][str(first)]], "as the vector says")
        answer = message_class("PredictResponse")()
        answer.model_spec.version.value = self._part.get("answer_versions", {}).get(str(first), version)
        told = {name: tensor(each) for name, each in self._part.get("answers", {}).get(str(first), {}).items()}
        for name, each in {**asked.inputs, **told}.items():
            if not asked.output_filter or name in asked.output_filter:
                answer.outputs[name].CopyFrom(each)
        return answer

    def _all_came(self, version):
        """Tell whether all calls of one attempt are there, so that none is cancelled before it was seen."""
        if self._part.get("together"):
            return len(self.calls) >= len(self._wanted)
        return sum(each[0] == version for each in self.calls) >= sum(each[0] == version for each in self._wanted)

    def _arrived(self, context, left_s):
        self.peers.add(context.peer())
        self.left_s.append(left_s)

    def _until_ended(self, context, first=None):
        """Hold a call until its caller ends it."""
        over = threading.Event()

        def end():
            with self._changed:
                over.set()
                self._changed.notify_all()

        if context.add_callback(end):
            self._changed.wait_for(over.is_set, PATIENCE_S)
        if first is not None:
            self.ended.append(first)
            self._changed.notify_all()


def _wish(spec):
    return spec.version.value if spec.HasField("version") else spec.version_label or None
