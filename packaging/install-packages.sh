#!/bin/sh
# Installs the Debian packages that building, running and testing need, only those that are missing.
#   install-packages.sh build|check
set -eu
build="gcc make autoconf automake pkg-config libc6-dev libfuse3-dev fuse3 libevent-dev liblmdb-dev libjansson-dev libinih-dev libcunit1-dev libisal-dev libssl-dev zlib1g-dev"
check="$build clang-format-14 clang-tidy-14 cppcheck e2fsprogs iproute2 nftables python3 strace procps"
case ${1:-build} in
build) wanted=$build ;;
check) wanted=$check ;;
*) echo "usage: install-packages.sh build|check" >&2; exit 2 ;;
esac
missing=
for package in $wanted; do
    dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null | grep -q '^installed' || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
echo "installing:$missing"
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "these packages are missing and this is not root:$missing" >&2; exit 1; }
    sudo=sudo
else
    sudo=
fi
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get update -q >/dev/null
# shellcheck disable=SC2086
$sudo apt-get install -y -q --no-install-recommends $missing >/dev/null
