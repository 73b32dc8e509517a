// SPDX-License-Identifier: BSD-3-Clause
// threads_tbb.cpp -- oneTBB's side of threads.c: n empty tasks in groups that are
// waited for; who waits helps.
#include <cstddef>
#include <tbb/global_control.h>
#include <tbb/task_group.h>

extern "C" void bench_threads_tbb(std::size_t n, std::size_t window);

extern "C" void bench_threads_tbb(std::size_t n, std::size_t window) {
    tbb::global_control most(tbb::global_control::max_allowed_parallelism, 3);
    tbb::task_group group;
    for (std::size_t i = 0; i < n; i += window) {
        for (std::size_t k = 0; k < window; k++)
            group.run([] { __asm__ volatile("" : : : "memory"); });
        group.wait();
    }
}
