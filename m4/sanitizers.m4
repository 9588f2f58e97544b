# --enable-sanitize=address,undefined | thread, --enable-coverage. A bug that a test must catch is planted
# by `make PLANT=-DPLANT_R7`.
AC_DEFUN([CAIRN_SANITIZERS], [
  AC_ARG_ENABLE([sanitize],
    [AS_HELP_STRING([--enable-sanitize=LIST], [build with -fsanitize=LIST (address,undefined or thread)])],
    [AS_IF([test "x$enableval" != xno],
      [CAIRN_SANITIZE="-fsanitize=$enableval -fno-sanitize-recover=all -g"])])
  AC_ARG_ENABLE([coverage],
    [AS_HELP_STRING([--enable-coverage], [build for gcov])],
    [AS_IF([test "x$enableval" = xyes], [CAIRN_SANITIZE="$CAIRN_SANITIZE --coverage -O0"])])
  AC_SUBST([CAIRN_SANITIZE])
])
