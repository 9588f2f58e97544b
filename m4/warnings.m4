# Adds each warning flag that the compiler knows to CAIRN_CFLAGS; warnings are errors.
AC_DEFUN([CAIRN_WARNINGS], [
  CAIRN_CFLAGS="-std=gnu11 -fno-strict-aliasing -fno-omit-frame-pointer"
  AC_ARG_ENABLE([werror],
    [AS_HELP_STRING([--disable-werror], [do not turn warnings into errors])],
    [], [enable_werror=yes])
  save_CFLAGS="$CFLAGS"
  for flag in -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition \
      -Wpointer-arith -Wcast-qual -Wwrite-strings -Wformat=2 -Wundef -Wvla -Wconversion \
      -Wno-sign-conversion -Wimplicit-fallthrough -Wlogical-op -Wduplicated-cond -Wduplicated-branches \
      -Wnull-dereference -Wunused-result -Wmissing-field-initializers; do
    AC_MSG_CHECKING([whether $CC accepts $flag])
    CFLAGS="$save_CFLAGS -Werror $flag"
    AC_COMPILE_IFELSE([AC_LANG_PROGRAM([], [])],
      [AC_MSG_RESULT([yes]); CAIRN_CFLAGS="$CAIRN_CFLAGS $flag"], [AC_MSG_RESULT([no])])
  done
  CFLAGS="$save_CFLAGS"
  AS_IF([test "x$enable_werror" = xyes], [CAIRN_CFLAGS="$CAIRN_CFLAGS -Werror"])
  AC_SUBST([CAIRN_CFLAGS])
])
