#!/bin/sh
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
#
# Last touch on the VM's file tree, before it becomes a disk: customise.sh TREE AUTHORIZED_KEY
set -eu

tree=$1
key=$2

# QEMU's user network: the machine is always .15, the gateway .2, the name server .3. Without DHCP it is up at once.
cat > "$tree/etc/systemd/network/lab.network" << 'EOF'
[Match]
Type=ether

[Network]
Address=10.0.2.15/24
Gateway=10.0.2.2
LinkLocalAddressing=no
EOF
rm -f "$tree/etc/resolv.conf"
echo 'nameserver 10.0.2.3' > "$tree/etc/resolv.conf"
echo lab-vm > "$tree/etc/hostname"
printf '127.0.0.1 localhost\n127.0.1.1 lab-vm\n' > "$tree/etc/hosts"
chroot "$tree" systemctl enable --quiet systemd-networkd.service

# root runs the playbooks; "user" is somebody who logs in and starts something.
chroot "$tree" useradd --create-home --shell /bin/bash user
for home in root home/user; do
    install -d -m 0700 "$tree/$home/.ssh"
    install -m 0600 "$key" "$tree/$home/.ssh/authorized_keys"
done
chroot "$tree" chown -R user: /home/user/.ssh
# A name look-up of the peer at every login would wait for a name server that may not be there.
printf 'UseDNS no\nPasswordAuthentication no\n' > "$tree/etc/ssh/sshd_config.d/lab.conf"

# Logs survive a power cut, so that they can say what happened before it.
install -d "$tree/var/log/journal"

# apt's timers hold its lock at a time of their own choosing; the console is a log file, nobody logs in there.
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service \
    fstrim.timer getty.target serial-getty@ttyS0.service; do
    ln -sf /dev/null "$tree/etc/systemd/system/$unit"
done

: > "$tree/etc/machine-id"
rm -f "$tree/var/lib/dbus/machine-id"
