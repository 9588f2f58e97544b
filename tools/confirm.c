/* Asks the person at the terminal. */
#include "tools/confirm.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tools/command.h"

#include "common/base/banned.h"

bool confirm_on_terminal(const char *question)
{
    char typed[16] = "";
    if (!isatty(STDIN_FILENO))
        return false;
    (void)fprintf(stderr, "%s [y/N] ", question);
    (void)fflush(stderr);
    if (!fgets(typed, sizeof typed, stdin))
        return false;
    typed[strcspn(typed, "\n")] = '\0';
    return strcmp(typed, "y") == 0 || strcmp(typed, "yes") == 0;
}

int confirm_or_refuse(bool is_given, const char *question)
{
    if (is_given || confirm_on_terminal(question))
        return EXIT_GOOD;
    if (isatty(STDIN_FILENO))
        return complain_text(EXIT_REFUSED, "nothing was changed: not confirmed");
    return complain_text(EXIT_REFUSED, "nothing was changed: no terminal to ask on\n"
                                       "  if you are sure, say it with --yes");
}
