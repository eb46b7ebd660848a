# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What TensorFlow Serving is started with: flags, text protos, unit files."""
