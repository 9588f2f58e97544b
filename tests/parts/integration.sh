# Real daemons on loopback with a real mount. Sourced by check.sh.
for script in tests/integration/t[0-9]*.sh; do
    [ -e "$script" ] && run "${script##*/}" 900 bash "$script"
done
