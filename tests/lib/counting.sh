# Runs test programs and counts their "ok" and "not ok" lines. Sourced by check.sh.
passed=0
failed=0
failures=()

count_line() { # LINE
    case $1 in
    'ok '*) passed=$((passed + 1)); echo "$1" ;;
    'not ok '*) failed=$((failed + 1)); failures+=("${1#not ok }"); echo "$1" ;;
    '#'*) echo "$1" ;;
    esac
}

# run NAME LIMIT-SECONDS COMMAND...: a program that fails without a "not ok" line, runs over its limit
# or prints no "ok" line at all counts as one failure.
run() {
    local name=$1 limit=$2 before_failed=$failed before_passed=$passed output status begun=$SECONDS
    shift 2
    output=$(mktemp)
    timeout -k 10 "$limit" "$@" > "$output" 2>&1
    status=$?
    { cat "$output"; echo "# $name took $((SECONDS - begun)) s"; } >> "$log"
    while IFS= read -r line; do count_line "$line"; done < <(grep -E '^(ok |not ok |# )' "$output")
    if [ $status -eq 124 ]; then
        count_line "not ok $name: over its limit of $limit s"
    elif [ $status -ne 0 ] && [ $failed -eq $before_failed ]; then
        tail -25 "$output" | sed 's/^/# /'
        count_line "not ok $name: exit status $status"
    elif [ $failed -eq $before_failed ] && [ $passed -eq $before_passed ]; then
        count_line "not ok $name: ran no test"
    fi
    rm -f "$output"
}

# start NAME LIMIT-SECONDS COMMAND...: like run, beside as many others as there are processors. What
# they print is shown and counted by `finish`, in the order of their start.
lanes=()
start() {
    while [ "$(jobs -rp | wc -l)" -ge "$(nproc)" ]; do wait -n; done
    local lines
    lines=$(mktemp)
    lanes+=("$lines")
    run "$@" > "$lines" &
}
finish() {
    local lines
    wait
    for lines in ${lanes[@]+"${lanes[@]}"}; do
        while IFS= read -r line; do count_line "$line"; done < "$lines"
        rm -f "$lines"
    done
    lanes=()
}

summary() {
    for name in ${failures[@]+"${failures[@]}"}; do echo "FAILED $name"; done
    echo "$passed passed, $failed failed"
    [ $failed -eq 0 ]
}
