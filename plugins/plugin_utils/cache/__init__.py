# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The cache of answers on a gateway: for which calls, under which version, and when it stands aside."""
