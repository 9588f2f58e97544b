# Simulations of the pure rooms and the bugs planted in them. Sourced by check.sh.
for program in "$out"/release/tests/sim/sim-*; do
    [ -x "$program" ] && start "${program##*/}" 900 "$program"
done
finish
for script in tests/sim/*plants.sh; do
    [ -e "$script" ] && start "${script##*/}" 900 bash "$script"
done
finish
