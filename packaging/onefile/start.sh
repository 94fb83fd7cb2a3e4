#!/bin/sh
# tunnelctl in one file: a program that needs no Python, packed behind this script. The first start
# unpacks it into a cache, and every later one runs it from there, so it starts as fast as one that
# is installed. Another version has another folder.
set -eu

if [ "$(id -u)" = 0 ]; then
    caches=/var/cache # whatever HOME is: root must not run what another user can write
else
    caches=${XDG_CACHE_HOME:-${HOME:?tunnelctl: set HOME or XDG_CACHE_HOME}/.cache}
fi
folder=$caches/tunnelctl/@VERSION@-@DIGEST@

if [ ! -O "$folder/tunnelctl" ]; then
    umask 077
    if ! { mkdir -p "$caches/tunnelctl" && fresh=$(mktemp -d "$folder.XXXXXX"); }; then
        echo "tunnelctl: cannot unpack into $caches: set XDG_CACHE_HOME to another folder" >&2
        exit 73
    fi
    trap 'rm -rf "$fresh"' EXIT
    tail -c +@OFFSET@ "$0" | tar -xzf - -C "$fresh"
    mv -T "$fresh" "$folder" 2>/dev/null || [ -O "$folder/tunnelctl" ] # another one was faster
    rm -rf "$fresh"
    trap - EXIT
fi
exec "$folder/tunnelctl" "$@"
exit
