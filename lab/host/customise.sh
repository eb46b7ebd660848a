#!/bin/sh
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
#
# Last touch on a lab host's file tree, before it becomes an image: customise.sh TREE
set -eu

tree=$1
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)

install -m 0755 "$here/lab-init" "$tree/usr/sbin/lab-init"
install -m 0644 "$here/apt.conf" "$tree/etc/apt/apt.conf.d/90lab"

# Units that have no business in a container: the first two hold apt's lock at a time of their own choosing, the others
# ask for hardware, or mount what the engine has mounted already or refuses.
for unit in \
    apt-daily.timer apt-daily-upgrade.timer \
    e2scrub_all.timer e2scrub_reap.service \
    systemd-udevd.service systemd-udev-trigger.service systemd-modules-load.service \
    dev-hugepages.mount sys-fs-fuse-connections.mount sys-kernel-config.mount sys-kernel-debug.mount \
    systemd-remount-fs.service getty.target console-getty.service; do
    ln -sf /dev/null "$tree/etc/systemd/system/$unit"
done

# Each host gets an identity of its own at its first boot.
: > "$tree/etc/machine-id"
rm -f "$tree/var/lib/dbus/machine-id"
