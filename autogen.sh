#!/bin/sh
# Makes ./configure from configure.ac.
set -e
cd "$(dirname "$0")"
for tool in autoconf automake aclocal pkg-config; do
    command -v "$tool" >/dev/null 2>&1 || {
        echo "autogen.sh: '$tool' is missing; on Debian: apt-get install autoconf automake pkg-config" >&2
        exit 1
    }
done
autoreconf --install --force
