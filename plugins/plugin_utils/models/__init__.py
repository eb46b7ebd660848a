# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The model versions that the controller sends to hosts."""
