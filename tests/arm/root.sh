#!/usr/bin/env bash
# An aarch64 Debian in a folder, run by QEMU: tests/arm/root.sh FOLDER. Made once; later calls find it finished.
#
# Needs root on Debian or Ubuntu x86-64, the packages qemu-user-static and debootstrap, and eight minutes. Mirror:
# DEBIAN_MIRROR, by default http://deb.debian.org/debian.
set -euo pipefail
root=$1
here=$(dirname "${BASH_SOURCE[0]}")
repository=$(cd "$here/../.." && pwd)

say() { echo "arm: $*" >&2; }
stop() { say "$1"; exit "${2:-2}"; }

[ "$(id -u)" = 0 ] || stop "needs root, to change into another root folder; run: sudo make test-arm"
if [ "$(uname -m)" != aarch64 ]; then
    for tool in debootstrap qemu-aarch64-static; do
        command -v "$tool" >/dev/null || stop "$tool is missing; run: apt-get install -y qemu-user-static debootstrap"
    done
    # The kernel must know what to do with an aarch64 program.
    registry=${BINFMT_MISC:-/proc/sys/fs/binfmt_misc}
    [ -e $registry/register ] || mount -t binfmt_misc binfmt_misc $registry 2>/dev/null ||
        stop "this kernel has no binfmt_misc (modprobe binfmt_misc?), so it cannot start aarch64 programs; in a container, run: docker run --privileged --rm tonistiigi/binfmt --install arm64"
    if [ ! -e $registry/qemu-aarch64 ]; then
        line=$(cat /usr/lib/binfmt.d/qemu-aarch64.conf 2>/dev/null) ||
            stop "/usr/lib/binfmt.d/qemu-aarch64.conf is missing; run: apt-get install -y --reinstall qemu-user-static"
        case ${line##*:} in *F*) ;; *) line+=F ;; esac # F: the interpreter is opened now, so that it is found in any root
        echo "$line" >$registry/register || stop "could not register qemu-aarch64 in $registry"
    fi
fi

if [ ! -e "$root/.system" ]; then
    shopt -s nullglob dotglob
    there=("$root"/*)
    shopt -u nullglob dotglob
    [ -d "$root" ] || [ ! -e "$root" ] || stop "$root is no folder; name a new one, or an empty one"
    if [ ${#there[@]} -gt 0 ] && [ ! -e "$root/.rarn-edge-root" ]; then # what follows removes the folder
        stop "$root holds files that this script did not make; name a new folder, or an empty one"
    fi
    say "making $root: about eight minutes, once"
    rm -rf "$root"
    mkdir -p "$root"
    : >"$root/.rarn-edge-root" # a run that is stopped leaves it, so that the next one may begin anew
    options=(--arch=arm64 --variant=minbase --include=python3,python3-venv,python3-pip)
    mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
    debootstrap --foreign "${options[@]}" bookworm "$root" "$mirror" >"$root.log" 2>&1 || stop "debootstrap failed: $(tail -n 1 "$root.log")"
    chroot "$root" /debootstrap/debootstrap --second-stage >>"$root.log" 2>&1 || stop "debootstrap failed: $(tail -n 1 "$root.log")"
    touch "$root/.system"
fi

# What a board installs: pip unpacks the aarch64 wheels from here, faster than the emulated one would.
wanted="onnxruntime numpy opencv-python-headless typer rich onnx onnx-ir"
if [ "$(cat "$root/.wheels" 2>/dev/null)" != "$wanted" ]; then
    say "unpacking wheels for aarch64"
    platforms=()
    for name in manylinux_2_28 manylinux_2_27 manylinux_2_26 manylinux_2_17 manylinux2014; do
        platforms+=(--platform "${name}_aarch64")
    done
    "${PYTHON:-python3}" -m pip install --quiet --disable-pip-version-check --no-warn-conflicts --upgrade \
        --target "$root/usr/lib/python3/dist-packages" --only-binary=:all: --python-version 311 --implementation cp \
        "${platforms[@]}" -c "$repository/constraints.txt" $wanted || stop "pip could not get the wheels for aarch64"
    echo "$wanted" >"$root/.wheels"
fi
