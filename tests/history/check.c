/* Runs both checkers over a history that history-run has written.
 *
 * usage: history-check FILE      environment: STEPS (of the search per group; 20 million) */
#include <stdlib.h>
#include <string.h>

#include "tests/history/history.h"

int main(int argc, char **argv)
{
    static char report[HISTORY_REPORT_SIZE];
    const char *steps = getenv("STEPS");
    struct history h = {0};
    struct history_figures figures = {0};
    struct err_text why = {""};
    size_t unknown = 0;
    FILE *file = argc == 2 ? fopen(argv[1], "r") : NULL;
    if (!file) {
        (void)fprintf(stderr, "usage: history-check FILE\n");
        return 2;
    }
    int status = history_read(file, &h, &why);
    (void)fclose(file);
    if (status != 0) {
        (void)fprintf(stderr, "history-check: %s: %s\n", argv[1], why.text);
        return 2;
    }
    for (size_t i = 0; i < h.count; i++)
        unknown += history_unknown(&h.ops[i]);
    unsigned wrong =
        history_search(&h, steps ? strtoull(steps, NULL, 10) : 20000000, report, &figures);
    unsigned broken = history_rules(&h, report);
    (void)printf("operations=%zu unknown=%zu search_violations=%u rule_violations=%u undecided=%u "
                 "steps=%llu\n%s",
                 h.count, unknown, wrong, broken, figures.undecided,
                 (unsigned long long)figures.steps, report);
    history_release(&h);
    return wrong + broken + figures.undecided > 0;
}
