/* The end of a process whose database can no longer be believed: the next start builds it anew.
 *
 * LMDB reads through a mapping, so a page that the disk does not give arrives as SIGBUS, not as an
 * error. Nothing is lost with the database: checkpoint and log are the truth. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/check.h"
#include "common/base/log.h"
#include "metaserver/metaserver.h"

enum { PATH_SIZE = 4096 };

/* What the handler needs: there is one metaserver in a process. */
static struct {
    char mark[PATH_SIZE], folder[PATH_SIZE];
} fault;

void meta_distrust_database(void)
{
    (void)unlink(fault.mark); /* without it the database is not trusted */
}

/* Raised by the access itself, in LMDB, which holds no lock that log_event takes. */
static void on_fault(int signal_number)
{
    (void)signal_number;
    meta_distrust_database();
    log_error("meta.database",
              "error=SIGBUS: a page of the database in %s cannot be read: ending; the next start "
              "builds it anew from checkpoint and log",
              fault.folder);
    _exit(3);
}

void meta_catch_faults(const char *data)
{
    struct sigaction action;
    int mark = snprintf(fault.mark, sizeof fault.mark, "%s/" META_MARK_NAME, data);
    int folder = snprintf(fault.folder, sizeof fault.folder, "%s/database", data);
    CHECK(mark < PATH_SIZE && folder < PATH_SIZE);
    memset(&action, 0, sizeof action);
    action.sa_handler = on_fault;
    action.sa_flags = (int)SA_RESETHAND; /* a second one ends the process at once */
    CHECK(sigaction(SIGBUS, &action, NULL) == 0);
}
