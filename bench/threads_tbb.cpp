// SPDX-License-Identifier: BSD-3-Clause
// threads_tbb.cpp -- oneTBB's side of threads.c: n empty tasks, each enqueued
// by itself, in an arena of so many workers.
#include <cstddef>
#include <tbb/global_control.h>
#include <tbb/task_arena.h>

extern "C" void bench_tbb(int workers, std::size_t n, void (*ran)(void),
                          void (*wait)(std::size_t));

extern "C" void bench_tbb(int workers, std::size_t n, void (*ran)(void),
                          void (*wait)(std::size_t)) {
    tbb::global_control most(tbb::global_control::max_allowed_parallelism,
                             static_cast<std::size_t>(workers) + 1);
    tbb::task_arena arena(workers, 0);
    for (std::size_t i = 0; i < n; i++)
        arena.enqueue([ran] { ran(); });
    wait(n);
}
