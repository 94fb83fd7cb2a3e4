#!/bin/sh
# Makes the keys at the first start, gives the client its key and known_hosts, and becomes sshd.
set -eu
umask 077
server=/var/lib/sshd
client=/keys

make_key() {
    # The public half is written last: without it the key is not complete.
    [ -f "$1.pub" ] && return
    rm -f "$1"
    ssh-keygen -q -t ed25519 -N '' -C "$2" -f "$1"
}

make_key "$server/host_ed25519" sshd
make_key "$client/id_ed25519" tunnelctl
printf 'restrict,port-forwarding,permitopen="web:8000" %s\n' \
    "$(cat "$client/id_ed25519.pub")" >"$server/authorized_keys"
printf '[sshd]:2222 %s\n' "$(cut -d ' ' -f 1,2 "$server/host_ed25519.pub")" >"$client/known_hosts"

exec /usr/sbin/sshd -D -e
