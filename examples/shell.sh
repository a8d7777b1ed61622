#!/bin/sh
# Records from the shell; a line of the input is a record. Each way needs a listener of its format: the addresses are
# those of configs/development.toml unless the environment says otherwise.
#
#     printf 'France\nUSA\n' | ./shell.sh lines     # unix-stream listener, format = "lines"
#     uptime | ./shell.sh raw                       # unix-datagram listener, format = "raw": a datagram is a record
#     dmesg  | ./shell.sh syslog                    # the same listener, through logger(1)
#     uptime | ./shell.sh udp                       # udp listener, format = "lines"
set -eu

: "${INGESTD_LINES:=/tmp/ingestd-development/lines.sock}"
: "${INGESTD_RAW:=/tmp/ingestd-development/log.sock}"
: "${INGESTD_UDP_HOST:=127.0.0.1}"
: "${INGESTD_UDP_PORT:=5514}"

need() {
    command -v "$1" >/dev/null || { echo "$0: needs $1: install it with: apt-get install $2" >&2; exit 69; }
}

# One line, one datagram: socat alone would put into one what it reads at once.
datagrams() {
    while IFS= read -r line || [ -n "$line" ]; do
        printf '%s' "$line" | socat -u STDIN "$1"
    done
}

case "${1:-}" in
lines)
    need socat socat
    exec socat -u STDIN "UNIX-CONNECT:$INGESTD_LINES"
    ;;
raw)
    need socat socat
    datagrams "UNIX-SENDTO:$INGESTD_RAW"
    ;;
syslog)
    need logger bsdutils
    exec logger --socket "$INGESTD_RAW" --rfc3164 --tag ingestd-example
    ;;
udp)
    need socat socat
    datagrams "UDP-SENDTO:$INGESTD_UDP_HOST:$INGESTD_UDP_PORT"
    ;;
*)
    sed -n '2,8s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
