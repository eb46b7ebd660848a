# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Bad successors of version 1 of `digits`, one for each fault that a roll-out has to notice; and version 2 is good.

All have the signatures of `digits` and, but for `wrong`, the weights and answers of its version 2. `failing` and
`crashing` do what they are named for only after SOUND calls, so that no warm-up and no golden request shows it.
"""

from __future__ import annotations

import tensorflow as tf
from digits import PIXELS, Digits
from tensorflow.python.ops import gen_control_flow_ops

from .simulated_device import Device

SOUND = 80
# Beyond any call of the sound model, and short enough for a few calls a second.
SLOW_MICROS = 200_000


class Faulty(Digits):
    """A version is named after its fault."""

    VERSIONS = ("wrong", "slow", "failing", "crashing")

    def __init__(self, fault: str) -> None:
        # As those of digits itself, whose training must not meet the fault.
        sound = Digits(3 if fault == "wrong" else 2)
        self._quality = sound.train()
        super().__init__(2)
        for mine, theirs in zip(self.trainable_variables, sound.trainable_variables, strict=True):
            mine.assign(theirs)
        self.fault = fault
        self.calls = tf.Variable(0, trainable=False, dtype=tf.int64)
        self.device = Device(SLOW_MICROS) if fault == "slow" else None

    def train(self) -> str:
        return self._quality

    @tf.function(input_signature=[tf.TensorSpec([None, PIXELS], tf.float32, name="x")])
    def predict(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        with tf.control_dependencies(self._faults()):
            probabilities = tf.nn.softmax(self._logits(tf.identity(x)))
        return {"probabilities": probabilities, "class_id": tf.argmax(probabilities, axis=1)}

    def _faults(self) -> list:
        if self.fault == "slow":
            return self.device.turn()
        if self.fault == "wrong":
            return []
        calls = self.calls.assign_add(1)
        if self.fault == "failing":
            return [tf.debugging.Assert((calls < SOUND) | (calls % 3 > 0), ["a fault of this version"])]
        return [tf.cond(calls < SOUND, lambda: True, _abort)]


def _abort() -> tf.Tensor:
    """End the whole process, as a segmentation fault in a kernel does."""
    with tf.control_dependencies([gen_control_flow_ops.abort(error_msg="a fault of this version")]):
        return tf.constant(True)
