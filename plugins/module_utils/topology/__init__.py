# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The hardware of one host as one dictionary."""
