"""roots: how a folder becomes the root of processes that are in mount and network namespaces of their own."""

FURNISH = """
root="$1" parent="$2"
shift 2
mount --make-rprivate /
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
mkdir "$root/dev/net"
for device in null zero full random urandom tty net/tun; do
    : >"$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/run/lock" "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
for stream in 0:stdin 1:stdout 2:stderr; do ln -s "/proc/self/fd/${stream%%:*}" "$root/dev/${stream#*:}"; done
case "$*" in
    /sys/fs/cgroup) ;;
    *) mount -t tmpfs -o mode=755 tmpfs "$root/sys/fs/cgroup" ;;
esac
for hierarchy in "$@"; do
    mkdir -p "$root$hierarchy"
    mount --bind "$hierarchy$parent" "$root$hierarchy"
done
"""
"""For `sh -eu`. Arguments: the root, the cgroup that is to look like the root of each hierarchy, and where these are
mounted."""

ENTER = """
cd "$root"
mkdir -p .outside
pivot_root . .outside
umount -l /.outside
rmdir /.outside
"""
"""Afterwards all of the mount namespace have the root, and what was mounted outside is gone for them."""
