/* SPDX-License-Identifier: BSD-3-Clause */
/* zygote_clean.c -- what a forked child does away with: descriptors, signals,
 * and the name of its parent. Whatever the host has in its memory (FILEs,
 * main's arguments) stays as it was, and harmless.
 * Thread: the only one of its process. */
#include "procs/zygote.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>
#include <linux/prctl.h>

#define TITLE_ROOM 128

/* ---- descriptors --------------------------------------------------------- */

static bool s_kept(int fd, const int *keep, int n) {
    for (int i = 0; i < n; i++)
        if (keep[i] == fd)
            return true;
    return fd < 3;
}

/* A number beyond a limit that was lowered later is nobody's any more. */
static bool s_plug_one(int fd, int plug, const int *keep, int n) {
    return s_kept(fd, keep, n) || fd == plug ||
           dup3(plug, fd, O_CLOEXEC) >= 0 || (errno == EBADF && close(fd) == 0);
}

/* /proc is not there: every number that can be in use is asked for. */
static bool s_plug_by_number(int plug, const int *keep, int n) {
    struct rlimit r = {1024, 1024};
    getrlimit(RLIMIT_NOFILE, &r);
    int max = r.rlim_cur < 65536 ? (int)r.rlim_cur : 65536;
    for (int fd = 3; fd < max; fd++)
        if (fcntl(fd, F_GETFD) >= 0 && !s_plug_one(fd, plug, keep, n))
            return false;
    return true;
}

bool gi_clean_fds(const int *keep, int n) {
    int plug = open("/", O_PATH | O_CLOEXEC);
    DIR *dir = plug >= 0 ? opendir("/proc/self/fd") : NULL;
    bool ok = plug >= 0;
    if (ok && !dir)
        ok = s_plug_by_number(plug, keep, n);
    for (struct dirent *e; ok && dir && (e = readdir(dir));) {
        int fd = atoi(e->d_name);
        ok = e->d_name[0] == '.' || fd == dirfd(dir) ||
             s_plug_one(fd, plug, keep, n);
    }
    int error = errno;
    if (dir)
        closedir(dir);
    if (plug >= 3)
        close(plug);
    errno = error;
    return ok;
}

void gi_clean_standard(void) {
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0)
        return;
    dup2(null, 0);
    dup2(null, 1);
    if (fcntl(2, F_GETFD) < 0)
        dup2(null, 2);
    if (null > 2)
        close(null);
}

/* ---- signals ------------------------------------------------------------- */

void gi_clean_signals(bool deaf) {
    static const int ignored[] = {SIGTERM, SIGHUP,  SIGINT,  SIGQUIT,
                                  SIGPIPE, SIGALRM, SIGUSR1, SIGUSR2,
                                  SIGTSTP, SIGTTIN, SIGTTOU};
    struct sigaction sa = {.sa_handler = SIG_DFL};
    sigset_t set;
    sigfillset(&set);
    sigprocmask(SIG_SETMASK, &set, NULL);
    for (int i = 1; i < NSIG; i++)
        sigaction(i, &sa, NULL);
    sa.sa_handler = SIG_IGN;
    for (size_t i = 0; deaf && i < sizeof ignored / sizeof *ignored; i++)
        sigaction(ignored[i], &sa, NULL);
    sigemptyset(&set);
    sigprocmask(SIG_SETMASK, &set, NULL);
}

/* ---- title --------------------------------------------------------------- */

static char *s_title; /* NULL: the kernel keeps main's arguments */

/* The fields of /proc/self/stat that the kernel asks for all at once, by their
 * numbers in proc(5). */
static bool s_read_map(struct prctl_mm_map *map) {
    char text[2048], *at;
    unsigned long long field[53] = {0};
    FILE *f = fopen("/proc/self/stat", "re");
    size_t got = f ? fread(text, 1, sizeof text - 1, f) : 0;
    if (f)
        fclose(f);
    text[got] = 0;
    at = strrchr(text, ')'); /* the name may hold anything */
    if (!at)
        return false;
    at += 3; /* the state, a letter */
    for (int i = 4; i <= 52 && *at; i++) {
        at = strchr(at, ' ');
        if (!at)
            return false;
        field[i] = strtoull(++at, NULL, 10);
    }
    *map = (struct prctl_mm_map){.start_code = field[26],
                                 .end_code = field[27],
                                 .start_stack = field[28],
                                 .start_data = field[45],
                                 .end_data = field[46],
                                 .start_brk = field[47],
                                 .brk = (uint64_t)(uintptr_t)sbrk(0),
                                 .arg_start = field[48],
                                 .arg_end = field[49],
                                 .env_start = field[50],
                                 .env_end = field[51],
                                 .exe_fd = (uint32_t)-1};
    return map->arg_start && map->end_data;
}

void gi_clean_title_room(void) {
    struct prctl_mm_map map;
    char *room;
    if (s_title || !s_read_map(&map))
        return;
    room = mmap(NULL, TITLE_ROOM, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (room == MAP_FAILED)
        return;
    map.arg_start = (uint64_t)(uintptr_t)room;
    map.arg_end = map.arg_start + TITLE_ROOM;
    if (prctl(PR_SET_MM, PR_SET_MM_MAP, &map, sizeof map, 0) == 0)
        s_title = room;
    else
        munmap(room, TITLE_ROOM);
}

void gi_clean_title(const char *title) {
    prctl(PR_SET_NAME, title);
    if (!s_title)
        return;
    memset(s_title, 0, TITLE_ROOM);
    strncpy(s_title, title, TITLE_ROOM - 1);
}
