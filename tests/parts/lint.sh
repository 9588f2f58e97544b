# Rules that a machine can check. Sourced by check.sh.
for rule in rooms pure clock size words format; do run "lint/$rule" 120 "tests/lint/$rule"; done
