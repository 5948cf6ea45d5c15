#!/usr/bin/env bash
# The answers of an Arm core, without one: `make test-arm`. Files are made here, answered here (x86) and under QEMU (aarch64), with
# and without the kernels for dot products and i8mm, and compared. The table goes to benchmarks/results/aarch64-emulated/.
#
# Needs root on Debian or Ubuntu, and what root.sh needs. Emulation proves answers, never speed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export PYTHON=${PYTHON:-python3}
work=$PWD/build/arm
root=${RARN_EDGE_ARM_ROOT:-${XDG_CACHE_HOME:-$HOME/.cache}/rarn-edge/aarch64}

tests/arm/root.sh "$root"
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
"$PYTHON" tests/arm/check.py prepare "$work"

inside() { # inside KERNELS QEMU_CPU: in a mount namespace of its own, which takes its mounts along when it ends
    echo "arm: answers with $1 kernels" >&2
    unshare --mount bash -euc '
        root=$1 repository=$2 work=$3 kernels=$4 cpu=$5
        mkdir -p "$root/rarn-edge" "$root/work"
        mount -t proc proc "$root/proc"
        mount -t sysfs sysfs "$root/sys"
        mount --bind /dev "$root/dev"
        mount --bind "$repository" "$root/rarn-edge"
        mount --bind "$work" "$root/work"
        mount --bind "$repository/tests/arm/cpuinfo-$kernels" "$root/proc/cpuinfo" # ONNX Runtime chooses its kernels by it
        env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 PYTHONPATH=/rarn-edge PYTHONDONTWRITEBYTECODE=1 QEMU_CPU="$cpu" \
            chroot "$root" python3 /rarn-edge/tests/arm/check.py answer /work "$kernels"
    ' bash "$root" "$PWD" "$work" "$1" "$2"
}
inside dotprod max
inside plain cortex-a53 # a core without dot products: one such instruction would end the process

"$PYTHON" tests/arm/check.py judge "$work" benchmarks/results/aarch64-emulated/answers.json
