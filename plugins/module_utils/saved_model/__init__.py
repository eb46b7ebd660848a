# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The SavedModel format, read without TensorFlow and without trusting it."""
