# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Other settings for one instance for a while, with a way back that needs nobody."""
