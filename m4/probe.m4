# Finds the libraries; a missing one ends configure with the name of its Debian package.
AC_DEFUN([CAIRN_NEED], [
  PKG_CHECK_MODULES([$1], [$2], [],
    [AC_MSG_ERROR([$2 was not found; on Debian: apt-get install $3])])
])
AC_DEFUN([CAIRN_NEED_PLAIN], [
  AC_CHECK_HEADER([$2], [], [AC_MSG_ERROR([$2 was not found; on Debian: apt-get install $4])])
  AC_CHECK_LIB([$3], [$5], [$1_LIBS="-l$3"],
    [AC_MSG_ERROR([lib$3 was not found; on Debian: apt-get install $4])])
  AC_SUBST([$1_LIBS])
])
AC_DEFUN([CAIRN_PROBE_LIBRARIES], [
  PKG_PROG_PKG_CONFIG([0.29])
  AS_IF([test -z "$PKG_CONFIG"],
    [AC_MSG_ERROR([pkg-config was not found; on Debian: apt-get install pkg-config])])
  CAIRN_NEED([FUSE], [fuse3 >= 3.13], [libfuse3-dev])
  CAIRN_NEED([CRYPTO], [libcrypto >= 3.0], [libssl-dev])
  CAIRN_NEED([ZLIB], [zlib], [zlib1g-dev])
  CAIRN_NEED([EVENT], [libevent_core >= 2.1 libevent_pthreads >= 2.1], [libevent-dev])
  CAIRN_NEED([JANSSON], [jansson], [libjansson-dev])
  CAIRN_NEED_PLAIN([LMDB], [lmdb.h], [lmdb], [liblmdb-dev], [mdb_env_create])
  CAIRN_NEED_PLAIN([INIH], [ini.h], [inih], [libinih-dev], [ini_parse_file])
  CAIRN_NEED_PLAIN([CUNIT], [CUnit/Basic.h], [cunit], [libcunit1-dev], [CU_initialize_registry])
  AC_ARG_WITH([isal], [AS_HELP_STRING([--without-isal], [use zlib for CRC-32 even where ISA-L is present])])
  AS_IF([test "x$with_isal" != xno], [
    AC_CHECK_HEADER([isa-l/crc.h],
      [AC_CHECK_LIB([isal], [crc32_gzip_refl],
        [ISAL_LIBS="-lisal"
         AC_DEFINE([HAVE_ISAL], [1], [CRC-32 through ISA-L])])])])
  AC_SUBST([ISAL_LIBS])
])
