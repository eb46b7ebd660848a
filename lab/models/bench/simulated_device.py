# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A SIMULATED accelerator: a high fixed cost for each call, next to nothing for a row.

There is no device. Each call waits DEVICE_MICROS inside the runtime, one call after another, and then does a small
product on the CPU. The wait uses no CPU, as that of a thread that waits for a GPU: a loop of computing instead would
take from the server the CPU that a GPU leaves it, and would take longer on a slower machine. What it does not show:
copies to a device, its memory, kernels that run side by side, and a time that grows with the batch.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from tensorflow.python.ops import gen_dataset_ops, gen_experimental_dataset_ops

DEVICE_MICROS = 8000  # a call of a mid-size network on a GPU: launches and copies, whatever the batch
FEATURES = 16
SAMPLE_ROWS = 3
_ELEMENT = {"output_types": [tf.int64], "output_shapes": [tf.TensorShape([])]}


class Device(tf.saved_model.experimental.TrackableResource):
    """An iterator without end, each of whose elements takes some microseconds. It hands out one at a time."""

    def __init__(self, micros: int = DEVICE_MICROS) -> None:
        super().__init__()
        self._micros = micros

    def turn(self) -> list[tf.Tensor]:
        """Wait for the next element."""
        return gen_dataset_ops.iterator_get_next(self.resource_handle, **_ELEMENT)

    def _create_resource(self) -> tf.Tensor:
        return gen_dataset_ops.iterator_v2(shared_name="simulated_device", container="", **_ELEMENT)

    def _initialize(self) -> None:
        endless = tf.data.Dataset.range(1).repeat()
        slow = gen_experimental_dataset_ops.sleep_dataset(
            endless._variant_tensor, tf.constant(self._micros, tf.int64), **_ELEMENT
        )
        prompt = gen_dataset_ops.options_dataset(slow, _no_prefetch(), **_ELEMENT)
        gen_dataset_ops.make_iterator(prompt, self.resource_handle)


def _no_prefetch() -> bytes:
    """The runtime would otherwise have the next element ready, and a call after a pause would not wait at all."""
    options = tf.data.Options()
    options.experimental_optimization.inject_prefetch = False
    options.autotune.enabled = False
    return options._to_proto().SerializeToString()


class SimulatedDevice(tf.Module):
    """Versions differ in their seed, so in their weights and every score."""

    def __init__(self, version: int) -> None:
        super().__init__()
        rng = np.random.default_rng(6000 + version)
        self.weights = tf.Variable((rng.standard_normal(FEATURES) / FEATURES).astype(np.float32))
        self.device = Device()

    @staticmethod
    def train() -> str:
        return f"SIMULATED: {DEVICE_MICROS / 1000:g} ms a call"

    @tf.function(input_signature=[tf.TensorSpec([None, FEATURES], tf.float32, name="x")])
    def score(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        with tf.control_dependencies(self.device.turn()):
            return {"scores": tf.sigmoid(tf.linalg.matvec(tf.identity(x), self.weights))}

    def signatures(self) -> dict[str, tf.types.experimental.GenericFunction]:
        return {"serving_default": self.score.get_concrete_function()}

    @staticmethod
    def methods() -> dict[str, str]:
        return {}

    @staticmethod
    def sample(rows: int = SAMPLE_ROWS) -> dict[str, np.ndarray]:
        # 64ths are exact in single precision, so that JSON carries exactly what the server computes on.
        x = np.random.default_rng(42).integers(-64, 65, (rows, FEATURES)) / 64
        return {"x": x.astype(np.float32)}
