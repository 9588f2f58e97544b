/* Reads what a metaserver's folder holds. */
#include "tools/recover.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/banned.h"

enum { WORD_MAX = 16, ID_PREFIX_MIN = 8 };

/* "1 host:port". */
static bool add_member(struct recover_survey *s, bool is_voter, const char *value)
{
    char *end;
    unsigned long node = strtoul(value, &end, 10);
    if (s->member_count == RECOVER_MEMBERS_MAX || end == value || *end != ' ' || node == 0 ||
        strlen(end + 1) >= RECOVER_ADDRESS_MAX)
        return false;
    struct recover_member *one = &s->members[s->member_count++];
    *one = (struct recover_member){.node = (uint32_t)node, .is_voter = is_voter};
    snprintf(one->address, sizeof one->address, "%s", end + 1);
    return true;
}

static bool number(const char *value, uint64_t *ret_number)
{
    char *end;
    *ret_number = strtoull(value, &end, 10);
    return end != value && *end == '\0';
}

static bool copy(char *ret_text, size_t size, const char *value)
{
    size_t length = strlen(value);
    if (length >= size)
        return false;
    memcpy(ret_text, value, length + 1);
    return true;
}

/* Words of a newer daemon that are not known here are left out. */
static bool take(struct recover_survey *s, const char *word, const char *value)
{
    uint64_t n = 0;
    bool is_good = true;
    if (strcmp(word, "cluster") == 0)
        is_good = copy(s->cluster, sizeof s->cluster, value);
    else if (strcmp(word, "data") == 0)
        is_good = copy(s->data, sizeof s->data, value);
    else if (strcmp(word, "applied") == 0)
        is_good = number(value, &s->applied_index);
    else if (strcmp(word, "last") == 0)
        is_good = number(value, &s->last_index);
    else if (strcmp(word, "term") == 0)
        is_good = number(value, &s->last_term);
    else if (strcmp(word, "voter") == 0 || strcmp(word, "learner") == 0)
        is_good = add_member(s, word[0] == 'v', value);
    else if (strcmp(word, "node") == 0 && (is_good = number(value, &n)))
        s->node = (uint32_t)n;
    else if (strcmp(word, "whole") == 0 && (is_good = number(value, &n)))
        s->is_whole = n != 0;
    else if (strcmp(word, "time_ns") == 0 && (is_good = number(value, &n)))
        s->time_ns = (int64_t)n;
    return is_good;
}

bool recover_survey_parse(const char *text, struct recover_survey *ret_survey)
{
    struct recover_survey *s = ret_survey;
    memset(s, 0, sizeof *s);
    while (*text) {
        char word[WORD_MAX], value[RECOVER_TEXT_MAX];
        size_t line = strcspn(text, "\n"), size = strcspn(text, " \n");
        size_t rest = size < line ? line - size - 1 : 0;
        if (text[line] != '\n' || size >= sizeof word || rest >= sizeof value)
            return false;
        snprintf(word, sizeof word, "%.*s", (int)size, text);
        snprintf(value, sizeof value, "%.*s", (int)rest, text + line - rest);
        if (strcmp(word, "end") == 0)
            return s->node != 0 && s->cluster[0] != '\0' && s->data[0] != '\0';
        if (!take(s, word, value))
            return false;
        text += line + 1;
    }
    return false;
}

bool recover_is_confirmed(const struct recover_survey *s, const char *typed)
{
    size_t size = strlen(typed);
    if (strcmp(typed, "yes") == 0)
        return true;
    return size >= ID_PREFIX_MIN && strncmp(typed, s->cluster, size) == 0;
}
