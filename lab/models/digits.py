# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A dense digit classifier in the shape of the usual tutorials, trained on synthetic pictures."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

PIXELS = 784
CLASSES = 10
HIDDEN = 64
NOISE = 0.35  # keeps the classes separable without making the softmax saturate, so answers stay worth comparing
STEPS = 200
BATCH = 128
LEARNING_RATE = 0.1
SAMPLE_ROWS = 3


class Digits(tf.Module):
    """Versions differ in their seed, so in their weights and every answer."""

    def __init__(self, version: int) -> None:
        super().__init__()
        self._rng = np.random.default_rng(1000 + version)
        # The pictures of the ten classes are the same for all versions: a new version is a retraining, not a new task.
        self._prototypes = np.random.default_rng(7).uniform(0, 1, (CLASSES, PIXELS)).astype(np.float32)
        self.hidden_weights = tf.Variable(self._normal(PIXELS, HIDDEN))
        self.hidden_bias = tf.Variable(tf.zeros([HIDDEN]))
        self.class_weights = tf.Variable(self._normal(HIDDEN, CLASSES))
        self.class_bias = tf.Variable(tf.zeros([CLASSES]))
        self.labels = tf.constant([str(digit) for digit in range(CLASSES)])

    def _normal(self, rows: int, columns: int) -> np.ndarray:
        return (self._rng.standard_normal((rows, columns)) / np.sqrt(rows)).astype(np.float32)

    def _pictures(self, rows: int) -> tuple[np.ndarray, np.ndarray]:
        digits = self._rng.integers(0, CLASSES, rows)
        noise = self._rng.normal(0, NOISE, (rows, PIXELS))
        return np.clip(self._prototypes[digits] + noise, 0, 1).astype(np.float32), digits

    def _logits(self, x: tf.Tensor) -> tf.Tensor:
        hidden = tf.nn.relu(tf.matmul(x - 0.5, self.hidden_weights) + self.hidden_bias)
        return tf.matmul(hidden, self.class_weights) + self.class_bias

    @tf.function(input_signature=[tf.TensorSpec([None, PIXELS], tf.float32), tf.TensorSpec([None], tf.int64)])
    def _step(self, x: tf.Tensor, digits: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=digits, logits=self._logits(x))
            loss = tf.reduce_mean(losses)
        for variable, gradient in zip(self.trainable_variables, tape.gradient(loss, self.trainable_variables)):
            variable.assign_sub(LEARNING_RATE * gradient)
        return loss

    def train(self) -> str:
        """Train in place; returns the accuracy on pictures not seen before, in words."""
        for _ in range(STEPS):
            self._step(*self._pictures(BATCH))
        x, digits = self._pictures(1000)
        accuracy = float(np.mean(self.predict(x)["class_id"].numpy() == digits))
        return f"accuracy {accuracy:.3f}"

    @tf.function(input_signature=[tf.TensorSpec([None, PIXELS], tf.float32, name="x")])
    def predict(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        probabilities = tf.nn.softmax(self._logits(x))
        return {"probabilities": probabilities, "class_id": tf.argmax(probabilities, axis=1)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="inputs")])
    def classify(self, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        probabilities = tf.nn.softmax(self._logits(self._parse(inputs)))
        classes = tf.tile(self.labels[tf.newaxis, :], [tf.shape(probabilities)[0], 1])
        return {"classes": classes, "scores": probabilities}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="inputs")])
    def regress(self, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """The expected digit: the mean of the digits, weighted by their probabilities."""
        probabilities = tf.nn.softmax(self._logits(self._parse(inputs)))
        return {"outputs": tf.linalg.matvec(probabilities, tf.range(CLASSES, dtype=tf.float32))}

    @staticmethod
    def _parse(examples: tf.Tensor) -> tf.Tensor:
        return tf.io.parse_example(examples, {"x": tf.io.FixedLenFeature([PIXELS], tf.float32)})["x"]

    def signatures(self) -> dict[str, tf.types.experimental.GenericFunction]:
        return {
            "serving_default": self.predict.get_concrete_function(),
            "classify_digits": self.classify.get_concrete_function(),
            "regress_digits": self.regress.get_concrete_function(),
        }

    @staticmethod
    def methods() -> dict[str, str]:
        return {"classify_digits": "classify", "regress_digits": "regress"}

    @staticmethod
    def sample() -> dict[str, np.ndarray]:
        rng = np.random.default_rng(42)
        # Grey levels in 256ths are exact in single precision, so that JSON carries exactly what the server computes on.
        return {"x": (rng.integers(0, 256, (SAMPLE_ROWS, PIXELS)) / 256).astype(np.float32)}
