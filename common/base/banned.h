/* Functions that invite mistakes become compile errors. Include after the system headers. */
#ifndef CAIRN_BASE_BANNED_H
#define CAIRN_BASE_BANNED_H

#undef alloca /* a macro in <stdlib.h>; poisoning a macro is an error of its own */

#pragma GCC poison strcpy strcat sprintf vsprintf strtok gmtime localtime ctime asctime rand srand \
    alloca gets atoi atol

#endif
