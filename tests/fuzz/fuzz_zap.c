/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_zap.c -- who may come in: a file of users, or rules about calls, with
 * whatever is in them, and a question with whatever a peer says. First byte:
 * which, and how much of the rest is the file. Nobody is let in whom the text
 * does not name. Hashing is replaced by a cheap one (cmake/tests.cmake). */
#include <crypt.h>
#include <gaterpc/log.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "rules/access.h"
#include "mail/logring.h"
#include "security/zap_impl.h"
#include "input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
char *__wrap_crypt_r(const char *phrase, const char *setting,
                     struct crypt_data *data);

/* What it "hashes" is right when the setting ends with it. */
char *__wrap_crypt_r(const char *phrase, const char *setting,
                     struct crypt_data *data) {
    size_t n = strlen(phrase), all = strlen(setting);
    bool right = n > 0 && n <= all && strcmp(setting + all - n, phrase) == 0;
    snprintf(data->output, sizeof data->output, "%s", right ? setting : "*0");
    return data->output;
}

static char *s_text(gate_bytes_t bytes) {
    char *text = malloc(bytes.size + 1);
    fuzz_must(text);
    memcpy(text, bytes.data, bytes.size);
    text[bytes.size] = 0;
    return text;
}

/* "user NUL password NUL domain", as texts of frames come. */
static void s_judge(gate_bytes_t file, gate_bytes_t question) {
    gi_zap_judge_t judge = {.file = NULL};
    char *users = s_text(file);
    gate_err_t e =
        gi_zap_users_parse(users, file.size, "users", &judge.of_file);
    fuzz_must(e == GATE_OK || e == GATE_BADDATA);
    if (e) /* as a whole or not at all */
        gi_zap_users_free(&judge.of_file);
    free(users);
    char *texts = s_text(question), *end = texts + question.size;
    const char *user = texts, *password = user + strlen(user);
    password += password < end;
    const char *domain = password + strlen(password), *why = NULL;
    domain += domain < end;
    gate_zap_request_t request = {.domain = domain,
                                  .user = user,
                                  .password = password,
                                  .address = {"127.0.0.1", 9},
                                  .identity = {user, strlen(user)}};
    const char *status = gi_zap_judge_ask(&judge, &request, &why);
    fuzz_must(status && why && strlen(status) == 3);
    if (*status == '2') /* somebody of that name is in the file */
        fuzz_must(*user && memmem(file.data, file.size, user, strlen(user)));
    gi_zap_judge_fini(&judge);
    free(texts);
}

static void s_rules(gate_bytes_t rules, gate_bytes_t question) {
    gi_access_t *access = NULL;
    char *text = s_text(rules), *user = s_text(question);
    size_t n = strlen(user);
    gate_bytes_t rest = {user + n, question.size - n};
    gate_err_t e = gi_access_parse(text, &access);
    fuzz_must(e == GATE_OK || e == GATE_BADARG);
    bool may = gi_access_allows(access, user, rest, rest);
    if (!gi_access_concerns(access, rest))
        fuzz_must(may);
    gi_access_destroy(&access);
    free(text);
    free(user);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2)
        return 0;
    gi_log_levels(GATE_SILENT, "");
    size_t n = data[1] < size - 2 ? data[1] : size - 2;
    gate_bytes_t file = {data + 2, n}, question = {data + 2 + n, size - 2 - n};
    if (data[0] & 1)
        s_rules(file, question);
    else
        s_judge(file, question);
    return 0;
}
