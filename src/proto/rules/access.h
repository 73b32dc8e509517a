/* SPDX-License-Identifier: BSD-3-Clause */
/* access.h -- who may call what. Pure. Thread: any, it never changes.
 *   rules: rule { ";" rule }      rule: ("allow" | "deny") USER SERVICE.METHOD
 * USER, SERVICE and METHOD are names in which * stands for any run of bytes;
 * the target splits at its last dot, a target without one is a service with all
 * its methods. USER "-" is whoever is not authenticated.
 * Law: the first rule that fits decides. When none does: yes, unless some rule
 * allows something of that service. */
#ifndef GI_ACCESS_H
#define GI_ACCESS_H

#include <gaterpc/error.h>

typedef struct gi_access gi_access_t;

/* GATE_BADARG names the rule that is none; text "" gives NULL: no rules. */
gate_err_t gi_access_parse(const char *text, gi_access_t **out) GATE_MUST;
void gi_access_destroy(gi_access_t **self_p);
/* Some rule is about that service. self may be NULL: none. */
bool gi_access_concerns(const gi_access_t *self, gate_bytes_t service);
/* Some rule fits: *allow is what it says. user "" is not authenticated. */
bool gi_access_says(const gi_access_t *self, const char *user,
                    gate_bytes_t service, gate_bytes_t method, bool *allow);
/* The same, with an answer when none does. */
bool gi_access_allows(const gi_access_t *self, const char *user,
                      gate_bytes_t service, gate_bytes_t method);

#endif
