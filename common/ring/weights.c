/* What a cluster tells of its targets, as inputs of a placement. */
#include <string.h>

#include "common/base/err.h"
#include "common/ring/placement.h"
#include "common/base/banned.h"

enum { LEAST_WEIGHT = 2 /* the least that rounds to a point */, PARTS = 3 };

static int take_part(const char *from, size_t size, char ret_name[PLACEMENT_NAME_MAX])
{
    if (size == 0)
        return -ERR_INVALID;
    if (size >= PLACEMENT_NAME_MAX)
        return -ERR_NAME_TOO_LONG;
    memcpy(ret_name, from, size);
    ret_name[size] = 0;
    return 0;
}

int placement_domain_parse(const char *text, struct placement_domain *ret_domain)
{
    struct placement_domain domain = {{0}, {0}, {0}};
    char *const names[PARTS] = {domain.zone, domain.rack, domain.host};
    unsigned slashes = 0;
    for (const char *c = text; *c; c++)
        slashes += *c == '/';
    if (slashes >= PARTS)
        return -ERR_INVALID;
    for (unsigned part = PARTS - 1 - slashes; part < PARTS; part++) {
        size_t size = strcspn(text, "/");
        int status = take_part(text, size, names[part]);
        if (status != 0)
            return status;
        text += size + (text[size] == '/');
    }
    *ret_domain = domain;
    return 0;
}

/* In MiB, so that the products below fit. */
static uint64_t mebibytes(uint64_t bytes)
{
    return bytes ? (bytes >> 20) + 1 : 0;
}

void placement_weights(const uint64_t *capacities, unsigned count, uint32_t *ret_weights)
{
    uint64_t sum = 0, with_capacity = 0;
    for (unsigned i = 0; i < count; i++) {
        sum += mebibytes(capacities[i]);
        with_capacity += capacities[i] > 0;
    }
    for (unsigned i = 0; i < count; i++) {
        double weight = sum ? (double)mebibytes(capacities[i]) * RING_WEIGHT_MEAN *
                                  (double)with_capacity / (double)sum
                            : 0;
        uint32_t rounded = (uint32_t)(weight + 0.5);
        ret_weights[i] = capacities[i] && rounded < LEAST_WEIGHT ? LEAST_WEIGHT : rounded;
    }
}
