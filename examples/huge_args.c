/* SPDX-License-Identifier: BSD-3-Clause */
/* huge_args.c -- arguments too large for one message, in the three forms:
 * memory that is kept and not copied, a file, and pieces that are fed while
 * they are sent. The service gets a value like any other, here in a worker
 * process. */
#include "local.h"
#include <string.h>

#define SIZE (34u << 20)

static unsigned char byte_at(size_t i) { return (unsigned char)(i * i >> 7); }

/* How many bytes came, and how many of them are wrong. */
static gate_err_t check(gate_call_t *call) {
    gate_bytes_t data;
    int64_t wrong = 0;
    gate_err_t e = gate_args(call, &data);
    if (e)
        return e;
    for (size_t i = 0; i < data.size; i++)
        wrong += ((const unsigned char *)data.data)[i] != byte_at(i);
    return gate_return(call, gate_list((int64_t)data.size, wrong));
}

static const gate_method_t methods[] = {
    GATE_METHOD(check, .runs = GATE_PROCESS),
    GATE_END,
};

static int report(const char *how, gate_err_t e, gate_value_t *value) {
    int64_t size = 0, wrong = 1;
    if (e || gate_value_read(value, "0", &size) ||
        gate_value_read(value, "1", &wrong))
        return gate_perror(how);
    printf("%s: %lld bytes, %lld wrong\n", how, (long long)size,
           (long long)wrong);
    return size != SIZE || wrong;
}

/* free(data) is called when the last of it went out. */
static int from_memory(gate_client_t *client) {
    unsigned char *data = malloc(SIZE);
    GATE_OWN(gate_value) value = NULL;
    for (size_t i = 0; data && i < SIZE; i++)
        data[i] = byte_at(i);
    GATE_OWN(gate_huge) huge = gate_huge_arg_data(data, SIZE, free, NULL);
    gate_err_t e = gate_client_call(client, "Demo.check", &value, huge);
    return report("memory", e, value);
}

/* The client never has more of the file than what is under way. */
static int from_file(gate_client_t *client) {
    FILE *file = tmpfile();
    GATE_OWN(gate_value) value = NULL;
    if (!file)
        return 1;
    for (size_t i = 0; i < SIZE; i++)
        putc(byte_at(i), file);
    rewind(file); /* writes what is left, too */
    GATE_OWN(gate_huge) huge = gate_huge_arg_fd(dup(fileno(file)), NULL);
    gate_err_t e = gate_client_call(client, "Demo.check", &value, huge);
    fclose(file);
    return report("file", e, value);
}

/* The call is started first; gate_huge_put waits while the service is behind.
 */
static int fed(gate_client_t *client) {
    gate_huge_options_t options = {.codec = "gzip", .level = 1, .size = SIZE};
    GATE_OWN(gate_huge) huge = gate_huge_arg_new(&options);
    GATE_OWN(gate_future) f = gate_client_start(client, "Demo.check", huge);
    GATE_OWN(gate_value) value = NULL;
    unsigned char piece[4096];
    gate_err_t e = huge ? GATE_OK : gate_error()->code;
    for (size_t at = 0; at < SIZE && !e; at += sizeof piece) {
        for (size_t i = 0; i < sizeof piece; i++)
            piece[i] = byte_at(at + i);
        e = gate_huge_put(huge, piece, sizeof piece);
    }
    if (!e)
        e = gate_huge_end(&huge);
    if (!e)
        e = gate_future_wait(f, 30000, &value);
    return report("fed", e, value);
}

int main(void) {
    local_t l;
    if (gate_process_init())
        return gate_perror("process_init");
    GATE_OWN(gate_settings) settings = gate_settings_new();
    /* over the broker, as from another process */
    gate_settings_set(settings, "route", "broker");
    local_start(&l, settings, "Demo", methods);
    int code = from_memory(l.client) + from_file(l.client) + fed(l.client);
    local_stop(&l);
    return code;
}
