# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The evidence of a diagnosis: what a host knows about its servers, read in one call."""
