/* SPDX-License-Identifier: BSD-3-Clause */
/* hello.cpp -- C++17: service and client in one process; the parameters of a
 * lambda are a call's arguments, what it throws is the caller's exception. */
#include <gaterpc/gate.hpp>
#include <iostream>

using namespace std::chrono_literals;

int main() {
    gate::runtime rt;
    gate::service hello(rt, "Hello");
    hello.method("greet", [](std::string name, std::optional<int> times) {
        if (times && *times < 1)
            throw std::invalid_argument("times must be positive");
        return "hello " + name + " x" + std::to_string(times.value_or(1));
    });
    hello.method(
        "count",
        [](gate::call &call, int n) {
            call.streams();
            for (int i = 0; i < n; i++)
                call.yield(i);
        },
        GATE_THREAD);
    hello.start();

    gate::client client(rt);
    auto text = client.call<std::string>("Hello.greet", "you", 3);
    std::cout << text << '\n';
    int sum = 0;
    for (int i : client.open<int>("Hello.count", 5, gate::timeout(10s)))
        sum += i;
    std::cout << "sum " << sum << '\n';
    try {
        client.call<void>("Hello.greet", "you", 0);
        return 1;
    } catch (const gate::error &e) {
        std::cout << e.what() << '\n';
        return text != "hello you x3" || sum != 10 || e.cls() != "ValueError";
    }
}
