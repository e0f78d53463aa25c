#!/bin/sh
# Writes every transcript and every measured number that the book shows.
#
# Usage: book/record.sh
#
# Each file lies beside the page that includes it, and is what `lab run` said or
# a part of it: nothing in it is typed by hand. Run this again after a change to
# a scenario, a solution or the kernel, and read the difference before you
# commit it: the pages speak about these very runs.
#
# LAB is the command to run; without it, `cargo lab`. It takes a minute or two.

set -eu
cd "$(dirname "$0")/.."
lab=${LAB:-cargo lab}
tcp=book/src/ch03-tcp
sockets=book/src/ch05-sockets

# The part of a run that is the same every time: text LAB [OPTION...]
text() {
    what=$1
    shift
    $lab run "$what" --solution --seed 1 --text "$@"
}

# The same with the clock, but without the head: timeline LAB [OPTION...]
timeline() {
    what=$1
    shift
    $lab run "$what" --solution --seed 1 "$@" | sed '1,/^$/d; /|/d; /^$/d'
}

# What the program printed: output LAB [OPTION...]
output() {
    what=$1
    shift
    $lab run "$what" --solution --seed 1 "$@" | sed -n 's/.*| //p'
}

# Without the ARP exchange, which every network begins with.
tcp_only() {
    sed '/ ARP /d'
}

# The kernel's release without what a distribution or a cloud adds to it.
recorded() {
    kernel=$(uname -r | sed 's/[^0-9.].*//')
    echo "Recorded on $(uname -s) $kernel, $(date -u +%Y-%m-%d)."
}

handshake() {
    text handshake > $tcp/handshake.txt
    timeline handshake --rule 'drop synack from Kongming20' |
        tcp_only > $tcp/handshake-lost-synack.txt
    timeline handshake --rule 'drop ack from ernest-laptop' |
        tcp_only > $tcp/handshake-lost-ack.txt
    timeline handshake --rule 'drop #2 ack from ernest-laptop' |
        tcp_only > $tcp/handshake-lost-last-ack.txt
    timeline handshake --rule 'duplicate syn from ernest-laptop' |
        tcp_only > $tcp/handshake-two-syns.txt
    handshake_at_once
}

# With the server's line ready beforehand the number of segments is a race: the
# first run with six is shown, and how often there were six is counted.
handshake_at_once() {
    six=0
    for seed in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        run=$($lab run handshake --solution --profile book --seed $seed --text)
        case $run in *FIN-WAIT-2*) continue ;; esac
        test $six -gt 0 || printf '%s\n' "$run" > $tcp/handshake-book.txt
        six=$((six + 1))
    done
    echo "six segments in $six of 20 runs" > $tcp/handshake-book-count.txt
}

byteorder() {
    # The wire and the program's lines, each in order: which of the two was
    # noted first differs from run to run.
    run=$(text byteorder -- 2864434397 1)
    echo "$run" | sed '/ prints: /d' > $sockets/byteorder.txt
    echo "$run" | sed -n 's/.* prints: //p' > $sockets/byteorder-output.txt
    output byteorder --rule 'duplicate udp from Kongming20' \
        -- 2864434397 1 > $sockets/byteorder-duplicate-output.txt
    # The scenario gives up, and says so: not a failure of this script.
    $lab run byteorder --solution --seed 1 \
        --rule 'corrupt udp from Kongming20' -- 2864434397 |
        sed '1,/^$/d; s/^.*| //' > $sockets/byteorder-corrupt.txt || true
    output byteorder -- 1 256 65535 4294967295 > $sockets/byteorder-more.txt
}

backlog() {
    text backlog -- 3 > $sockets/backlog.txt
    text backlog -- 0 > $sockets/backlog-0.txt
    for profile in modern book; do
        run=$(timeline backlog --profile $profile -- 3)
        echo "$run" | sed -n '1p; / #6 SYN /p' > $sockets/backlog-syn-$profile.txt
        echo "$run" | sed -n '1p; / #4 SYN ACK /p' \
            > $sockets/backlog-synack-$profile.txt
    done
    # The kernel's limit on every backlog ends this one early.
    $lab run backlog --solution --seed 1 -- 5000 |
        sed -n '/^stopped/p' > $sockets/backlog-5000.txt || true
}

recorded > book/src/recorded.txt
handshake
byteorder
backlog
