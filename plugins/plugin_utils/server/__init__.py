# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The inputs of TensorFlow Serving: flags, text protos and unit files."""
