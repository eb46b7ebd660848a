# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Model versions that the controller sends to hosts."""
