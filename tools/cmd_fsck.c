/* cairn fsck: the leader checks all invariants of the metadata on a snapshot. */
#include <stdio.h>

#include "tools/commands.h"
#include "tools/json.h"
#include "tools/member.h"
#include "tools/text.h"

enum { WAIT_S = 3600, FINDINGS = 100, FINDINGS_MAX = 1000 };

static void print_json_report(const struct msg_fsck_r *r)
{
    json_t *findings = json_array(), *report = json_object();
    struct slice cursor = r->findings.raw;
    struct rec_fsck_finding f;
    while (rec_fsck_finding_next(&cursor, &f))
        json_array_append_new(findings, json_of_slice(f.text));
    json_object_set_new(report, "version", json_integer(1));
#define NUMBER(field) json_object_set_new(report, #field, json_of_number(r->field))
    NUMBER(node), NUMBER(index), NUMBER(directories), NUMBER(files), NUMBER(links);
    NUMBER(others), NUMBER(names), NUMBER(chunks), NUMBER(file_bytes), NUMBER(garbage);
    NUMBER(orphans), NUMBER(sessions), NUMBER(targets), NUMBER(shards), NUMBER(ms);
#undef NUMBER
    json_object_set_new(report, "complete", json_boolean(!r->is_broken_off));
    json_object_set_new(report, "findings", findings);
    json_print(report);
}

static void print_report(const struct msg_fsck_r *r)
{
    char a[TEXT_SIZE], b[TEXT_SIZE], c[TEXT_SIZE], d[TEXT_SIZE], e[TEXT_SIZE];
    struct slice cursor = r->findings.raw;
    struct rec_fsck_finding f;
    while (rec_fsck_finding_next(&cursor, &f))
        (void)printf("finding    %.*s\n", (int)f.text.size, (const char *)f.text.data);
    (void)printf("namespace  %s directories   %s files   %s links   %s others   %s names\n",
                 text_count(r->directories, a), text_count(r->files, b), text_count(r->links, c),
                 text_count(r->others, d), text_count(r->names, e));
    (void)printf("data       %s in files   %s chunks   %s deleted   %s orphans\n",
                 text_bytes(r->file_bytes, a), text_count(r->chunks, b), text_count(r->garbage, c),
                 text_count(r->orphans, d));
    (void)printf("cluster    %s sessions   %u targets   %u shards\n", text_count(r->sessions, a),
                 r->targets, r->shards);
    (void)printf("checked    by m%u at index %s in %s: ", r->node, text_count(r->index, a),
                 text_duration(r->ms, b));
    if (r->findings.count == 0)
        (void)printf("nothing is wrong\n");
    else
        (void)printf("%u findings%s\n", r->findings.count,
                     r->is_broken_off ? ", then stopped (--findings)" : "");
}

static int check(const struct member *leader, unsigned findings_max, unsigned wait_s, bool json)
{
    struct bytes body = {0}, answer = {0};
    struct err_text why = {""};
    struct msg_fsck_r r;
    int code;
    encode_fsck(&body, &(struct msg_fsck){.findings_max = findings_max});
    int status = member_ask(leader->address, MSG_fsck, bytes_slice(&body), wait_s * 1000,
                            MSG_fsck_r, &answer, &why);
    if (status == 0)
        status = decode_fsck_r(bytes_slice(&answer), WIRE_VERSION, &r);
    if (status == -ERR_TIMEOUT)
        code = complain_text(EXIT_NO_LEADER,
                             "m%u has not finished within %u s\n  try: --timeout with more",
                             leader->node, wait_s);
    else if (status != 0)
        code = complain(status, "m%u could not check (%s)", leader->node, why.text);
    else {
        json ? print_json_report(&r) : print_report(&r);
        code = r.findings.count ? EXIT_ERROR : EXIT_GOOD;
        (void)fflush(stdout);
        if (r.findings.count)
            (void)complain_text(EXIT_ERROR,
                                "the metadata is damaged: keep a copy of all metaservers' folders "
                                "before anything else, and report it");
    }
    bytes_release(&body);
    bytes_release(&answer);
    return code;
}

int command_fsck(const struct arguments *a)
{
    struct members all;
    struct err_text why = {""};
    unsigned wait_s, findings_max;
    bool json = false;
    if (option_json(a, &json, &why) != 0 ||
        option_number(a, "findings", FINDINGS, 1, FINDINGS_MAX, &findings_max, &why) != 0 ||
        option_number(a, "timeout", WAIT_S, 1, 86400, &wait_s, &why) != 0)
        return complain_text(EXIT_USAGE, "%s", why.text);
    int code = members_with_leader(a, &all);
    if (code != EXIT_GOOD)
        return code;
    code = check(all.leader, findings_max, wait_s, json);
    members_release(&all);
    return code;
}
