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
    local name=$1 limit=$2 before_failed=$failed before_passed=$passed output status
    shift 2
    output=$(mktemp)
    timeout -k 10 "$limit" "$@" > "$output" 2>&1
    status=$?
    cat "$output" >> "$log"
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

summary() {
    for name in ${failures[@]+"${failures[@]}"}; do echo "FAILED $name"; done
    echo "$passed passed, $failed failed"
    [ $failed -eq 0 ]
}
