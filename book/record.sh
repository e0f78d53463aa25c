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
processes=book/src/ch13-processes
threads=book/src/ch14-threads

said=$(mktemp)
trap 'rm -f "$said"' EXIT

main() {
    recorded > book/src/recorded.txt
    handshake
    handshake_at_once
    time_wait
    byteorder
    backlog
    accept
    oob
    fork_exec
    zombies
    pipe_ipc
    sysv_sem
    shared_memory
    message_queue
    pass_fd
    threads
    mutex
    condvar
    semaphore
}

# The kernel's release without what a distribution or a cloud adds to it.
recorded() {
    kernel=$(uname -r | sed 's/[^0-9.].*//')
    echo "Recorded on $(uname -s) $kernel, $(date -u +%Y-%m-%d)."
}

handshake() {
    run handshake --text
    cp "$said" $tcp/handshake.txt
    run handshake --rule 'drop synack from Kongming20'
    timeline | without_arp > $tcp/handshake-lost-synack.txt
    run handshake --rule 'drop ack from ernest-laptop'
    timeline | without_arp > $tcp/handshake-lost-ack.txt
    run handshake --rule 'drop #2 ack from ernest-laptop'
    timeline | without_arp > $tcp/handshake-lost-last-ack.txt
    run handshake --rule 'duplicate syn from ernest-laptop'
    timeline | without_arp > $tcp/handshake-two-syns.txt
}

# With the server's line ready beforehand the number of segments is a race: the
# first run with six is shown, and how often there were six is counted.
handshake_at_once() {
    six=0
    for seed in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        run handshake --text --profile book --seed $seed
        if grep -q FIN-WAIT-2 "$said"; then continue; fi
        test $six -gt 0 || cp "$said" $tcp/handshake-book.txt
        six=$((six + 1))
    done
    echo "six segments in $six of 20 runs" > $tcp/handshake-book-count.txt
}

byteorder() {
    # The wire's part and the program's, each in its order: which of the two
    # was noted first differs from run to run.
    run byteorder --text -- 2864434397 1
    sed '/ prints: /d' "$said" > $sockets/byteorder.txt
    run byteorder -- 2864434397 1
    output > $sockets/byteorder-output.txt
    run byteorder -- 1 256 65535 4294967295
    output > $sockets/byteorder-more.txt
    run byteorder --rule 'duplicate udp from Kongming20' -- 2864434397 1
    output > $sockets/byteorder-duplicate-output.txt
    run_to_the_limit byteorder --rule 'corrupt udp from Kongming20' \
        -- 2864434397
    sed '1,/^$/d; s/^.*| //' "$said" > $sockets/byteorder-corrupt.txt
}

backlog() {
    run backlog --text -- 3
    cp "$said" $sockets/backlog.txt
    run backlog --text -- 0
    cp "$said" $sockets/backlog-0.txt
    run_to_the_limit backlog -- 5000
    sed -n '/^stopped/p' "$said" > $sockets/backlog-5000.txt
    for profile in modern book; do
        run backlog --profile $profile -- 3
        timeline | sed -n '1p; / #4 SYN ACK /p' \
            > $sockets/backlog-synack-$profile.txt
        # To the client a full queue and a wire that drops its SYNs look alike.
        run_to_the_limit handshake --profile $profile \
            --rule 'drop every syn from ernest-laptop'
        timeline | sed -n '1p; / SYN seq /p' > $sockets/backlog-syn-$profile.txt
    done
}

time_wait() {
    run time_wait
    timeline | without_arp > $tcp/time_wait.txt
    run time_wait --take client-pays
    timeline | without_arp > $tcp/time_wait-client.txt
    sed -n 's/^[^ ]* \(client .*| \)/\1/p' "$said" \
        > $tcp/time_wait-client-output.txt
    run time_wait --rule 'drop fin from ernest-laptop'
    timeline | without_arp | sed -n '1p; / Enter /,/TIME-WAIT has/p' \
        | awk '{ print } /TIME-WAIT has/ { exit }' > $tcp/time_wait-lost-fin.txt
    wrong=tests/mutants/ch03_tcp/time_wait
    refused time_wait $wrong/no_reuse.rs \
        | evidence > $tcp/time_wait-in-use.txt
    refused time_wait $wrong/linger_zero.rs \
        | evidence > $tcp/time_wait-linger.txt
}

accept() {
    run accept
    output > $sockets/accept-output.txt
    # What happens to the first four; each line, as it is in every run.
    run accept --text
    sed '/ prints: /d; /client 5 connects/,$d; /#1 .*[0-9] bytes/,$d' "$said" \
        > $sockets/accept.txt
    run accept --text
    sed '/ prints: /d' "$said" | sed -n '/end of the program/,$p' \
        > $sockets/accept-end.txt
    run accept --rule 'reorder data from ernest-laptop'
    timeline | sed -n '/client 2 sends/,/client 3 connects/p' | sed '$d' \
        > $sockets/accept-reorder.txt
    run accept --profile book -- 12
    output > $sockets/accept-full.txt
    run accept --profile book -- 12
    timeline | sed -n '/visitor 7 connects/,/visitor 9 connects/p' | sed '$d' \
        > $sockets/accept-full-wire.txt
    run accept --profile book -- 20
    room=$(output | sed '/^turned away/,$d' | grep -c ' is ')
    echo "$room find room" > $sockets/accept-full-20.txt
}

oob() {
    run oob --text -- 'data 123' 'urgent abc' 'data 123'
    sed '/ prints: /d' "$said" > $sockets/oob.txt
    run oob -- 'data 123' 'urgent abc' 'data 123'
    output_of sender > $sockets/oob-sender.txt
    output_of receiver > $sockets/oob-receiver.txt
    run oob --profile book
    output > $sockets/oob-inline.txt
    run oob -- 'data 12' 'urgent ab' 'data 34' 'urgent cd' 'data 56'
    output_of receiver > $sockets/oob-overwritten.txt
    run oob -- 'urgent a' 'urgent b' 'data 56'
    output_of receiver > $sockets/oob-overwritten-first.txt
    run oob --rule 'drop data from ernest-laptop' \
        -- 'data 123' 'urgent abc' 'data 123'
    timeline | sed -n '/is told: data 123/,/FIN/p' | sed '$d' \
        > $sockets/oob-again.txt
    run oob --rule 'delay 300ms every ack from Kongming20' \
        -- 'data 123' 'urgent abc' 'data 123'
    timeline | sed -n '/ bytes/p; /ACK ack 7 /p' > $sockets/oob-pending.txt
}

fork_exec() {
    run fork_exec --text
    without_stderr > $processes/fork_exec.txt
    run fork_exec --text -- 'ls /proc/self/fd'
    cp "$said" $processes/fork_exec-descriptors.txt
    run fork_exec --text -- nosuch 'env nosuch'
    without_stderr > $processes/fork_exec-127.txt
}

# When a line on standard error comes to light beside one on standard output is
# chance.
without_stderr() {
    sed '/ prints: .*\(No such file\|Permission denied\)/d' "$said"
}

zombies() {
    run zombies --text -- 3
    sed -n '/client 1: half/,/client 4 connects/p' "$said" \
        | sed '$d; / ACK ack /d' > $processes/zombies.txt
    run zombies -- 3
    output > $processes/zombies-output.txt
    run zombies --text -- 12
    sed -n '/SIGCONT/,/client 13 connects/p' "$said" | sed '$d' \
        > $processes/zombies-twelve.txt
    for mistake in one_wait_per_signal keeps_the_listener ignores_the_status; do
        refused zombies "tests/mutants/ch13_processes/zombies/$mistake.rs" \
            > $processes/zombies-$mistake.txt
    done
}

pipe_ipc() {
    for take in gone collect; do
        run pipe_ipc --take $take
        output > $processes/pipe_ipc-$take.txt
    done
    run pipe_ipc --take filter -- 3 5 hello
    output > $processes/pipe_ipc-filter.txt
    for mistake in filter_keeps_its_writer writes_all_then_reads \
        sender_keeps_the_reader two_writes writes_through_a_buffer; do
        refused pipe_ipc "tests/mutants/ch13_processes/pipe_ipc/$mistake.rs" \
            > $processes/pipe_ipc-$mistake.txt
    done
}

sysv_sem() {
    run sysv_sem --text -- 3 2
    without_names > $processes/sysv_sem.txt
    run sysv_sem --take told --text -- 3 2
    without_names > $processes/sysv_sem-told.txt
    run sysv_sem --text -- 1 3
    without_names > $processes/sysv_sem-alone.txt
    wrong=tests/mutants/ch13_processes/sysv_sem
    for mistake in no_undo undo_on_one_way value_of_two; do
        refused sysv_sem $wrong/$mistake.rs > $processes/sysv_sem-$mistake.txt
    done
}

shared_memory() {
    run shared_memory --text -- 3 3 3
    without_names > $processes/shared_memory.txt
    run shared_memory --text -- 2 1 1
    without_names > $processes/shared_memory-one.txt
    wrong=tests/mutants/ch13_processes/shared_memory
    for mistake in no_lock no_ftruncate mapped_private lock_of_one_process \
        nobody_waits_for_room; do
        refused shared_memory $wrong/$mistake.rs \
            > $processes/shared_memory-$mistake.txt
    done
}

message_queue() {
    run message_queue --text --take sysv
    cp "$said" $processes/message_queue-sysv.txt
    run message_queue --text --take posix
    cp "$said" $processes/message_queue-posix.txt
    run message_queue --text --take sysv -- 'send 5 five' 'send 3 three' \
        'send 9 nine' 'receive -9' 'receive -9' 'receive -9'
    cp "$said" $processes/message_queue-negative.txt
    run message_queue --text --take sysv -- 'send 1 abcdefgh' \
        'send 1 abcdefgh' 'send 1 abcdefgh' 'send 1 abcdefg' 'send 1 ab' 'send 1 a'
    cp "$said" $processes/message_queue-bytes.txt
}

pass_fd() {
    run pass_fd --text
    sed '1d; s/^Kongming20 prints: /    /; s/^\[Kongming20: \(.*\)\]$/\1/' \
        "$said" > $processes/pass_fd.txt
    for name in number_as_bytes opens_by_path small_control_buffer reads_ahead
    do
        refused pass_fd tests/mutants/ch13_processes/pass_fd/$name.rs \
            | evidence > $processes/pass_fd-$name.txt
    done
}

threads() {
    run threads -- 327680 10,20,30 7,x,9 1,2
    output | without_advice > $threads/threads-output.txt
    timeline > $threads/threads.txt
    run threads -- 268435456 1 2 3 4 5 6 7 8
    timeline | sed '/line\|end/d' > $threads/threads-eight.txt
    run_to_the_limit threads -- 2147483648 1 2 3
    output | without_advice > $threads/threads-too-large.txt
    run threads -- 327680 x y
    output | without_advice > $threads/threads-all-panic.txt
}

mutex() {
    run mutex -- 4 5 10 3
    output > $threads/mutex-output.txt
    timeline > $threads/mutex.txt
    wrong=tests/mutants/ch14_threads/mutex
    refused mutex $wrong/a_lock_for_each.rs > $threads/mutex-lost.txt
    refused mutex $wrong/opposite_order.rs > $threads/mutex-deadlock.txt
}

condvar() {
    run condvar --take 'lines to the end' -- 2 2
    output > $threads/condvar-output.txt
    timeline > $threads/condvar.txt
    run condvar --take 'lines to the end' -- 1 2
    output > $threads/condvar-one.txt
    wrong=tests/mutants/ch14_threads/condvar
    refused condvar $wrong/looks_then_locks.rs > $threads/condvar-lost.txt
    refused condvar $wrong/waits_once.rs > $threads/condvar-stolen.txt
    refused condvar $wrong/wakes_one_at_the_end.rs > $threads/condvar-end.txt
}

semaphore() {
    run semaphore -- 2 8 29
    output > $threads/semaphore-output.txt
    timeline > $threads/semaphore.txt
    wrong=tests/mutants/ch14_threads/semaphore
    refused semaphore $wrong/loads_and_stores.rs > $threads/semaphore-store.txt
    refused semaphore $wrong/wakes_at_zero_only.rs > $threads/semaphore-zero.txt
    refused semaphore $wrong/wakes_then_adds.rs > $threads/semaphore-early.txt
    refused semaphore $wrong/wakes_always.rs > $threads/semaphore-always.txt
}

# Runs the reference program into $said: run LAB [OPTION...]. A run that fails,
# or that says nothing because the network lost a frame, ends this script.
run() {
    what=$1
    shift
    case " $* " in
    *" --seed "*) $lab run "$what" --solution "$@" > "$said" ;;
    *) $lab run "$what" --solution --seed 1 "$@" > "$said" ;;
    esac
}

# The same where the scenario is meant to wait in vain, and to say so.
run_to_the_limit() {
    status=0
    run "$@" || status=$?
    test $status -eq 1
}

# The first check that a wrong program does not pass, with its evidence: refused
# LAB FILE.
refused() {
    status=0
    $lab check "$1" --seed 1 --file "$2" > "$said" || status=$?
    test $status -eq 1
    awk '/^  (NOT|ok|cause)/ { if (shown) exit } /^  NOT/ { shown = 1 }
        shown' "$said"
}

# The evidence alone.
evidence() {
    sed '1d; s/^        //; /^ *$/d'
}

# The figure with its clock, without what stands before and after it.
timeline() {
    sed -n '/^ *ernest-laptop  *Kongming20$/,/^$/p' "$said" | sed '/^$/d'
}

# What the program printed.
output() {
    sed -n 's/.*| //p' "$said"
}

# What one of several programs printed.
output_of() {
    sed -n "s/^[^ ]* $1 .*| //p" "$said"
}

# One program on one host: nothing on the wire, and no need to say whose.
without_names() {
    sed '1d; s/^Kongming20 prints: //; s/^\[Kongming20: /[/' "$said"
}

# What a panicking program prints besides its message, and empty lines.
without_advice() {
    sed '/RUST_BACKTRACE/d; /^$/d'
}

# Every network begins with the same ARP exchange.
without_arp() {
    sed '/ ARP /d'
}

main
