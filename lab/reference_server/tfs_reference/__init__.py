# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A stand-in for tensorflow_model_server on the real TensorFlow runtime; made to test the collection, not to serve."""
