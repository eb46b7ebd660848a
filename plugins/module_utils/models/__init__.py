# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The model repository of a host: what is wanted, how it is fetched, how it is published."""
