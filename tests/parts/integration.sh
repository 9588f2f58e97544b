# Real daemons on loopback with a real mount. Sourced by check.sh.
#
# They mostly wait: for elections, leases, disks. Those of `cairn dev` share its ports and run one after the other; those
# that choose ports of their own run beside them.
shares_ports() { grep -qE 'cluster_up|dev up' "$1"; }
beside=$(mktemp)
lanes+=("$beside")
(
    for script in tests/integration/t[0-9]*.sh; do
        shares_ports "$script" || run "${script##*/}" 900 bash "$script"
    done
) > "$beside" &
for script in tests/integration/t[0-9]*.sh; do
    shares_ports "$script" && run "${script##*/}" 900 bash "$script"
done
finish
