#!/bin/sh
# Boots the systemd of this machine in namespaces of its own, on a copy of the root file system that is thrown away:
# boot.sh FOLDER SHOWN...: FOLDER/upper takes the changes, FOLDER/share is /share inside, and each SHOWN is where it is.
# Needs root, and `unshare --mount --pid --fork --mount-proc --uts --net --ipc`.
set -eu
folder=$1
shift
mount --make-rprivate /
mount -t tmpfs tmpfs "$folder/upper"
mkdir "$folder/upper/upper" "$folder/upper/work"
mount -t overlay overlay -o "lowerdir=/,upperdir=$folder/upper/upper,workdir=$folder/upper/work" "$folder/root"
cd "$folder/root"
mount -t proc proc proc
mount --rbind /sys sys
mount --rbind /dev dev
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
mkdir -p share
mount --bind "$folder/share" share
for shown in "$@"; do
    mkdir -p ".$shown"
    mount --bind "$shown" ".$shown"
done
ip link set lo up
rm -f etc/systemd/system/*.wants/*
mkdir -p old
pivot_root . old
umount -l /old
mount --make-rshared / # systemd leaves that to the manager of a container; credentials need it
exec env -i container=lxc PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --system --unit=multi-user.target --log-target=journal
