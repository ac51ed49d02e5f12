# shellcheck shell=bash
# lib.sh - what the scripts of the test layers share. A test begins with
#
#     #!/usr/bin/env bash
#     . "${FILEDUP_TESTS:-$(dirname "$0")/..}/lib.sh"
#
# and runs by tests/run, or by hand. It owns $TEST_FOLDER, in which it starts, and a private daemon:
# `filedup` and `filedupd` are the built ones, FILEDUP_SOCKET leads to that daemon.
# A command that fails ends the test (set -e), and the end of the daemon's log is shown.

set -euo pipefail

: "${FILEDUP_TESTS:=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)}"
: "${FILEDUP_BUILD:=$FILEDUP_TESTS/../build}"
: "${FILEDUP_SLOW:=1}"
case ${1:-} in
--list) TEST_FOLDER=/ ;;
*)
    if [ -z "${TEST_FOLDER:-}" ]; then
        TEST_FOLDER=$(mktemp -d "${TMPDIR:-/tmp}/fd-XXXXXX")
        chmod 755 "$TEST_FOLDER"
        TEST_FOLDER_IS_OURS=yes
    fi
    ;;
esac
export FILEDUP_TESTS FILEDUP_BUILD FILEDUP_SLOW TEST_FOLDER
export PATH="$FILEDUP_BUILD:$PATH"
export FILEDUP_SOCKET="$TEST_FOLDER/control"
daemon_pid=''
daemon_log=$TEST_FOLDER/filedupd.log
daemon_conf=$TEST_FOLDER/filedupd.conf
at_end_commands=()
test_script=$(realpath -- "$0")
cd "$TEST_FOLDER"

fail() {
    printf 'FAILED: %s\n' "$*" >&2
    exit 1
}

# For what cannot be had here (no root, no FUSE ...): loud, and never counted as passed.
skip() {
    printf '%s\n' "$*" >&2
    exit 77
}

need_root() { [ "$(id -u)" -eq 0 ] || skip "needs root"; }
need_program() { command -v "$1" >/dev/null || skip "needs the program $1"; }

# at_end COMMAND...: run when the test ends, however it ends; last in, first out.
at_end() { at_end_commands+=("$(printf '%q ' "$@")"); }

_end() {
    local status=$? i
    trap - EXIT ERR
    trap '' INT TERM HUP
    set +e
    if [ "$status" -ne 0 ] && [ "$status" -ne 77 ]; then
        for i in "$TEST_FOLDER"/*.log; do
            [ -f "$i" ] && printf -- '--- the end of %s\n' "${i##*/}" && tail -n 30 "$i"
        done >&2
    fi
    [ -z "$daemon_pid" ] || daemon_kill
    for ((i = ${#at_end_commands[@]} - 1; i >= 0; i--)); do
        eval "${at_end_commands[i]}"
    done
    cd /
    [ -z "${TEST_FOLDER_IS_OURS:-}" ] || rm -rf -- "$TEST_FOLDER"
    exit "$status"
}
trap _end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
trap '_failed "$BASH_COMMAND"' ERR
set -E

# Names the line of the test, not that of a helper.
_failed() { # COMMAND
    local i
    for ((i = 1; i < ${#BASH_SOURCE[@]} - 1; i++)); do
        [ "${BASH_SOURCE[i]}" = "${BASH_SOURCE[0]}" ] || break
    done
    printf 'FAILED: %s:%s: %s\n' "${BASH_SOURCE[i]##*/}" "${BASH_LINENO[i - 1]}" "${1%%$'\n'*}" >&2
}

# wait_until SECONDS COMMAND...: polls until the command succeeds; the deadline is only for what hangs.
wait_until() {
    local limit_sec=$(($1 * FILEDUP_SLOW)) end
    shift
    end=$((SECONDS + limit_sec + 1))
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || fail "not within $limit_sec s: $*"
        sleep 0.03
    done
}

# expect STATUS COMMAND...: its output is in ./out and ./err.
expect() {
    local wanted=$1 status=0
    shift
    "$@" >"$TEST_FOLDER/out" 2>"$TEST_FOLDER/err" || status=$?
    [ "$status" -eq "$wanted" ] && return
    cat "$TEST_FOLDER/out" "$TEST_FOLDER/err" >&2
    fail "exit status $status, not $wanted: $*"
}

# expect_text TEXT FILE...: the output says so.
expect_text() {
    local text=$1
    shift
    grep -qF -- "$text" "$@" && return
    cat "$@" >&2
    fail "the text \"$text\" is not there"
}

# COMMAND | says [GREP-OPTION...] PATTERN: reads to the end, so that COMMAND never writes into a closed pipe.
says() {
    local text
    text=$(cat)
    grep -q "$@" <<<"$text"
}

same() { cmp -- "$1" "$2" || fail "$1 and $2 differ"; }

# --- the daemon -------------------------------------------------------------------------------------

# Its settings; EXTRA is more of them, as libconfig text.
# shellcheck disable=SC2120 # its argument is for tests
daemon_configure() { # [EXTRA]
    mkdir -p "$TEST_FOLDER/entries.d"
    cat >"$daemon_conf" <<TXT
state = "$TEST_FOLDER/state";
socket = "$FILEDUP_SOCKET";
entries-d = "$TEST_FOLDER/entries.d";
default-store = "$TEST_FOLDER/store";
${1:-}
TXT
}

# Starts it (--user unless DAEMON_MODE says --system) and returns when it answers.
daemon_start() { # [OPTION...]
    # shellcheck disable=SC2119
    [ -f "$daemon_conf" ] || daemon_configure
    filedupd "${DAEMON_MODE:---user}" --config "$daemon_conf" "$@" >>"$daemon_log" 2>&1 </dev/null &
    daemon_pid=$!
    wait_until 20 daemon_answers_or_ended
    daemon_runs || fail "filedupd ended at once"
}

daemon_runs() { [ -n "$daemon_pid" ] && kill -0 "$daemon_pid" 2>/dev/null; }
daemon_answers_or_ended() { filedup status || ! daemon_runs; }

# In order: SIGTERM, and its own exit status 0.
daemon_stop() {
    local status=0 pid=$daemon_pid
    kill -TERM "$pid"
    wait "$pid" || status=$?
    daemon_pid=''
    [ "$status" -eq 0 ] || fail "filedupd ended with status $status"
}

# As a crash: SIGKILL. Returns when its roles are gone too.
daemon_kill() {
    local pid=$daemon_pid roles role
    # shellcheck disable=SC2119
    roles=$(role_pids)
    kill -KILL "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
    daemon_pid=''
    for role in $roles; do
        wait_until 10 _is_gone "$role" || true
    done
}

_is_gone() { ! [ -e "/proc/$1/stat" ] || grep -q '^[^)]*) Z' "/proc/$1/stat"; }

# Process ids of the daemon's roles: role_pids [watcher | copier | keeper]
# shellcheck disable=SC2120 # its argument is for tests
role_pids() {
    local pid
    [ -n "$daemon_pid" ] || return 0
    # shellcheck disable=SC2013 # one line of words
    for pid in $(cat "/proc/$daemon_pid/task/$daemon_pid/children" 2>/dev/null); do
        if tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -q -- "--role=${1:-}"; then
            printf '%s\n' "$pid"
        fi
    done
}

# --- what it says -----------------------------------------------------------------------------------

# row FILE EXPRESSION: of the file's row in `filedup status --json`, as Python sees it ("state" and
# 'stores[0].backup_file' stand for row["state"] and row["stores"][0]["backup"]).
row() {
    filedup status --json | python3 -c '
import base64, json, os, re, sys
path, expression = os.fsencode(sys.argv[1]), sys.argv[2]
answer = json.load(sys.stdin)
rows = answer["entries"] if isinstance(answer, dict) else answer
for row in rows:
    name = base64.b64decode(row["path_b64"]) if "path_b64" in row else os.fsencode(row["path"])
    if name == path:
        value = row
        for key in re.findall(r"[\w-]+", expression):
            value = value[int(key)] if isinstance(value, list) else value[key]
        if isinstance(value, str) and key.endswith("_b64"):
            sys.stdout.buffer.write(base64.b64decode(value))
        else:
            print(json.dumps(value) if isinstance(value, (dict, list, bool)) else value)
        break
else:
    sys.exit("no row for " + repr(path))
' "$1" "$2"
}

row_is() { [ "$(row "$1" "$2")" = "$3" ]; }

# Where the duplicate of a file is: backup_of FILE [NUMBER OF THE STORE]
backup_of() { row "$1" "stores[${2:-0}].backup_file"; }

# The numbers of a file's recovery points, newest first (not the newest content itself).
points_of() { # FILE
    filedup log "$1" --json | python3 -c '
import json, sys
print(*[p["id"] for p in json.load(sys.stdin)["points"] if not p["newest"]])'
}

# The duplicate has what the file has: sync says so, and the bytes do.
expect_current() { # FILE
    filedup sync "$1"
    wait_until 10 _backup_is_same "$1"
}
_backup_is_same() { cmp -s -- "$1" "$(backup_of "$1")"; }

# --- several tests in one file ----------------------------------------------------------------------

# A file that ends with: run_tests "$@"
# Its functions are its tests, but for those whose name begins with "_".
_lib_functions=$(declare -F | sed 's/^declare -f //')
run_tests() {
    local tests name
    tests=$(grep -oE '^[a-zA-Z][a-zA-Z0-9_]*\(\)' -- "$test_script" | tr -d '()' | grep -vxF -- "$_lib_functions")
    case ${1:-} in
    --list) printf '%s\n' "$tests" ;;
    '')
        for name in $tests; do
            printf '%s\n' "$name" >&2
            env -u TEST_FOLDER "$test_script" "$name" || fail "$name"
        done
        ;;
    *) "$1" ;;
    esac
}
