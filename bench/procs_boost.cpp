// SPDX-License-Identifier: BSD-3-Clause
// bench/procs_boost.cpp -- echoes per second through two processes over
// boost::interprocess::message_queue, one for requests and one for answers: as
// its users would write it. procs_peers.py runs it where it was built.
//   bench_procs_boost [size]    about size * 20 ms for each figure; JSON
#include <boost/interprocess/ipc/message_queue.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

using boost::interprocess::create_only;
using boost::interprocess::message_queue;
using clock_type = std::chrono::steady_clock;

static const int workers = 2;

static void work(message_queue &in, message_queue &out, std::size_t size) {
    std::vector<char> data(size);
    for (;;) {
        message_queue::size_type n;
        unsigned priority;
        in.receive(data.data(), size, n, priority);
        if (n == 0)
            _exit(0);
        out.send(data.data(), n, 0);
    }
}

static double echoes(std::size_t size, int window, double span) {
    std::string name = "gate-bench-" + std::to_string(getpid());
    std::string to = name + "-to", from = name + "-from";
    message_queue::remove(to.c_str());
    message_queue::remove(from.c_str());
    message_queue out(create_only, to.c_str(), window, size);
    message_queue in(create_only, from.c_str(), window, size);
    message_queue::remove(to.c_str()); // mapped; nothing stays behind
    message_queue::remove(from.c_str());
    pid_t pids[workers];
    for (pid_t &pid : pids)
        if ((pid = fork()) == 0)
            work(out, in, size);
    std::vector<char> data(size);
    message_queue::size_type n;
    unsigned priority;
    auto began = clock_type::now();
    auto passed = [&] {
        return std::chrono::duration<double>(clock_type::now() - began).count();
    };
    std::size_t done = 0;
    int flying = 0;
    for (bool more = true; more || flying > 0; more = passed() < span) {
        for (; more && flying < window; flying++)
            out.send(data.data(), size, 0);
        in.receive(data.data(), size, n, priority);
        flying--;
        done++;
    }
    double rate = static_cast<double>(done) / passed();
    for (int i = 0; i < workers; i++)
        out.send(data.data(), 0, 0);
    for (pid_t pid : pids)
        waitpid(pid, nullptr, 0);
    return rate;
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        std::size_t size;
        int window;
    } loads[] = {{"64x1", 64, 1},
                 {"64x16", 64, 16},
                 {"64x256", 64, 256},
                 {"4096x256", 4096, 256},
                 {"1Mx16", 1 << 20, 16},
                 {"64Mx2", 64 << 20, 2}};
    int size = argc > 1 ? std::atoi(argv[1]) : 50;
    const char *comma = "{";
    for (const auto &l : loads) {
        std::printf("%s\"%s\": %.1f", comma, l.name,
                    echoes(l.size, l.window, (size > 0 ? size : 50) * 0.02));
        comma = ", ";
    }
    std::printf("}\n");
    return 0;
}
