#!/usr/bin/env bash
# ONNX Runtime's C and C++ headers for classify.cpp, where the system's packages have none: from Debian 13's libonnxruntime-dev, by apt,
# unpacked into build/onnxruntime-include. Nothing is installed. Elsewhere they are in the archives of ONNX Runtime's releases.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
out=$PWD/build/onnxruntime-include
[ ! -e "$out/onnxruntime_cxx_api.h" ] || exit 0
command -v apt-get >/dev/null || { echo "no apt-get here; take the headers of ONNX Runtime's release archive: ONNXRUNTIME_INCLUDE=FOLDER" >&2; exit 2; }
key=/usr/share/keyrings/debian-archive-keyring.gpg
[ -e $key ] || { echo "$key is missing; run: apt-get install -y debian-archive-keyring" >&2; exit 2; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir -p "$folder/lists/partial" "$folder/cache/archives/partial"
echo "deb [signed-by=$key] ${DEBIAN_MIRROR:-http://deb.debian.org/debian} trixie main" >"$folder/sources.list"
options=(-qq -o "Dir::Etc::SourceList=$folder/sources.list" -o Dir::Etc::SourceParts=/dev/null
    -o "Dir::State::Lists=$folder/lists" -o "Dir::Cache=$folder/cache" -o APT::Sandbox::User=root)
apt-get "${options[@]}" update
(cd "$folder" && apt-get "${options[@]}" download libonnxruntime-dev && dpkg -x libonnxruntime-dev*.deb unpacked)
mkdir -p "$out"
cp -r "$folder"/unpacked/usr/include/onnxruntime/. "$out"
echo "$out"
