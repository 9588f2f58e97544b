/* Asks the person at the terminal. */
#ifndef CAIRN_TOOLS_CONFIRM_H
#define CAIRN_TOOLS_CONFIRM_H

#include <stdbool.h>

/* Prints the question and reads a line from standard input: "yes" or "y" is yes. Without a terminal
 * it is not asked, and no. */
bool confirm_on_terminal(const char *question);
/* For what cannot be taken back: EXIT_GOOD when --yes was given or somebody says yes; else it
 * complains that nothing was changed, and returns EXIT_REFUSED. */
int confirm_or_refuse(bool is_given, const char *question);

#endif
