# cppcheck and clang-tidy at zero findings. Sourced by check.sh.
run analysis/cppcheck 900 tests/lint/cppcheck
run analysis/clang-tidy 1500 tests/lint/clang-tidy "$out/release"
